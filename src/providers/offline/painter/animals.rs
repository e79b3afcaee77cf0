//! Animals, sitting and looking at you. One body serves them all; coat, ears and tail tell them apart.

use super::canvas::Rgb;
use super::figure::{Figure, Pen};
use super::vocabulary::Species;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ears {
    Pointed,
    Round,
    Floppy,
    Long,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    Bushy,
    Slim,
    Stub,
}

#[derive(Clone, Copy)]
struct Coat {
    fur: Rgb,
    belly: Rgb,
    paws: Rgb,
    ears: Ears,
    tail: Tail,
    nose: Rgb,
    eyes: Rgb,
}

impl Coat {
    fn of(species: Species) -> Self {
        let (fur, belly, paws, ears, tail) = match species {
            Species::Cat => (0xd9964e, 0xfff3e2, 0xfff3e2, Ears::Pointed, Tail::Slim),
            Species::Fox => (0xdd6a28, 0xfff4e8, 0x3a2a2c, Ears::Pointed, Tail::Bushy),
            Species::Wolf => (0x7f8796, 0xe8ebf0, 0x666d7c, Ears::Pointed, Tail::Bushy),
            Species::Tiger => (0xec9433, 0xfff6e6, 0xf2a44a, Ears::Round, Tail::Slim),
            Species::Lion => (0xe0ac5a, 0xf7dfae, 0xe8b868, Ears::Round, Tail::Slim),
            Species::Bear => (0x7d5537, 0xb98a5e, 0x6a462c, Ears::Round, Tail::Stub),
            Species::Panda => (0xf6f4ef, 0xf6f4ef, 0x2c2a30, Ears::Round, Tail::Stub),
            Species::Koala => (0x98a0ab, 0xe9ecef, 0x878f9b, Ears::Round, Tail::Stub),
            Species::Mouse => (0xa9a3a6, 0xece6e4, 0xf0b7b4, Ears::Round, Tail::Slim),
            Species::Dog => (0xb98250, 0xf6e7d3, 0xf6e7d3, Ears::Floppy, Tail::Slim),
            Species::Deer => (0xa8703f, 0xf0dcc0, 0x6b472b, Ears::Floppy, Tail::Stub),
            Species::Rabbit => (0xc9b59b, 0xfbf3e8, 0xfbf3e8, Ears::Long, Tail::Stub),
            Species::Owl | Species::Penguin => (0x8a6847, 0xf0dfc2, 0xe9a13b, Ears::Pointed, Tail::Stub),
        };
        let nose = match species {
            Species::Cat | Species::Rabbit | Species::Mouse | Species::Tiger => 0xe58a8a,
            _ => 0x2a2226,
        };
        let eyes = match species {
            Species::Cat | Species::Tiger => 0x7fae3c,
            Species::Wolf => 0x6fb4d8,
            _ => 0x2a1c18,
        };
        Self { fur: Rgb::hex(fur), belly: Rgb::hex(belly), paws: Rgb::hex(paws), ears, tail, nose: Rgb::hex(nose), eyes: Rgb::hex(eyes) }
    }
}

/// An animal of `size`, standing at `x`, `y`.
pub fn draw(species: Species, coat: Option<Rgb>, [x, y, size]: [f32; 3], facing: f32, light: Rgb) -> Figure {
    let mut pen = Pen::new(x, y, size, facing, light);
    pen.haze([0.03, 0.0], [0.36, 0.05], Rgb::hex(0x0a0c18), 0.42);
    if matches!(species, Species::Owl | Species::Penguin) {
        bird(&mut pen, species, coat);
        return pen.finish();
    }
    let mut dress = Coat::of(species);
    // A red fox is of its own red.
    let dye = if species == Species::Fox { 0.45 } else { 0.9 };
    dress.fur = coat.map_or(dress.fur, |color| dress.fur.mix(color, dye));
    if species == Species::Cat && coat.is_some_and(|fur| fur.luma() < 0.3) {
        (dress.belly, dress.paws) = (dress.fur.mix(Rgb::WHITE, 0.12), dress.fur.mix(Rgb::WHITE, 0.06));
    }
    tail(&mut pen, dress);
    body(&mut pen, dress);
    if species == Species::Lion {
        pen.ellipse([0.0, -0.64], [0.34, 0.32], dress.fur.mix(Rgb::hex(0x7a3d14), 0.75));
    }
    if species == Species::Deer {
        antlers(&mut pen);
    }
    ears(&mut pen, species, dress);
    head(&mut pen, species, dress);
    face(&mut pen, species, dress);
    pen.finish()
}

fn tail(pen: &mut Pen, coat: Coat) {
    match coat.tail {
        Tail::Bushy => {
            pen.line(&[[0.14, -0.07, 0.06], [0.34, -0.09, 0.1], [0.45, -0.22, 0.115], [0.46, -0.36, 0.085], [0.42, -0.47, 0.02]], coat.fur);
            pen.line(&[[0.457, -0.335, 0.088], [0.45, -0.4, 0.066], [0.42, -0.47, 0.02]], coat.belly);
        }
        Tail::Slim => {
            pen.line(
                &[[0.15, -0.05, 0.04], [0.33, -0.05, 0.04], [0.43, -0.12, 0.038], [0.46, -0.24, 0.035], [0.42, -0.34, 0.033], [0.44, -0.42, 0.028]],
                coat.fur,
            );
        }
        Tail::Stub => pen.ellipse([0.24, -0.12], [0.075, 0.07], coat.belly),
    }
}

fn body(pen: &mut Pen, coat: Coat) {
    let shade = coat.fur.mix(Rgb::BLACK, 0.12);
    pen.twins([0.17, -0.12], [0.13, 0.125], shade);
    pen.ellipse([0.0, -0.27], [0.225, 0.275], coat.fur);
    pen.ellipse([0.0, -0.4], [0.118, 0.135], coat.belly);
    pen.twin_lines(&[[0.078, -0.27, 0.056], [0.075, -0.06, 0.05]], coat.fur.mix(Rgb::BLACK, 0.04));
    pen.twin_lines(&[[0.075, -0.12, 0.052], [0.077, -0.045, 0.052]], coat.paws);
    pen.twins([0.08, -0.035], [0.066, 0.04], coat.paws);
    pen.twins([0.205, -0.03], [0.075, 0.036], coat.paws);
}

fn ears(pen: &mut Pen, species: Species, coat: Coat) {
    let inner = coat.fur.mix(Rgb::hex(0xf2b0a4), 0.55);
    match coat.ears {
        Ears::Pointed => {
            pen.twin_polygons(&[[0.205, -0.66], [0.045, -0.8], [0.18, -0.955]], 0.026, coat.fur);
            pen.twin_polygons(&[[0.182, -0.73], [0.092, -0.8], [0.172, -0.91]], 0.012, inner);
            if species == Species::Fox {
                pen.twin_polygons(&[[0.188, -0.9], [0.148, -0.905], [0.18, -0.957]], 0.024, coat.paws);
            }
        }
        Ears::Round => {
            let big = if matches!(species, Species::Mouse | Species::Koala) { 1.45 } else { 1.0 };
            let dark = if species == Species::Panda { coat.paws } else { coat.fur };
            let out = 0.165 + 0.05 * (big - 1.0);
            pen.twins([out, -0.81], [0.082 * big, 0.082 * big], dark);
            pen.twins([out, -0.805], [0.05 * big, 0.05 * big], if species == Species::Panda { dark } else { inner });
        }
        Ears::Long => {
            pen.twin_lines(&[[0.07, -0.78, 0.05], [0.1, -0.94, 0.062], [0.13, -1.12, 0.03]], coat.fur);
            pen.twin_lines(&[[0.075, -0.82, 0.022], [0.1, -0.94, 0.034], [0.124, -1.08, 0.014]], inner);
        }
        Ears::Floppy => {}
    }
}

fn head(pen: &mut Pen, species: Species, coat: Coat) {
    pen.ellipse([0.0, -0.655], [0.232, 0.188], coat.fur);
    match species {
        Species::Fox | Species::Wolf => {
            pen.twin_polygons(&[[0.02, -0.5], [0.235, -0.6], [0.1, -0.655], [0.045, -0.62]], 0.012, coat.belly);
        }
        Species::Panda => pen.twins([0.095, -0.675], [0.062, 0.07], coat.paws),
        Species::Tiger | Species::Cat => {
            let dark = coat.fur.mix(Rgb::hex(0x2e1a12), if species == Species::Tiger { 0.85 } else { 0.35 });
            for (x, reach) in [(0.0, 0.09), (0.045, 0.075)] {
                pen.twin_lines(&[[x, -0.835, 0.011], [x * 0.9, -0.835 + reach, 0.004]], dark);
            }
            pen.twin_lines(&[[0.222, -0.67, 0.01], [0.16, -0.655, 0.004]], dark);
            pen.twin_lines(&[[0.222, -0.62, 0.01], [0.165, -0.615, 0.004]], dark);
        }
        _ => {}
    }
    pen.ellipse([0.0, -0.58], [0.105, 0.078], coat.belly);
    if coat.ears == Ears::Floppy {
        let dark = coat.fur.mix(Rgb::hex(0x4a2c18), 0.45);
        let points: &[[f32; 3]] = if species == Species::Deer {
            &[[0.17, -0.77, 0.03], [0.26, -0.82, 0.052], [0.35, -0.8, 0.012]]
        } else {
            &[[0.165, -0.77, 0.05], [0.235, -0.7, 0.066], [0.245, -0.56, 0.058]]
        };
        pen.twin_lines(points, dark);
    }
}

fn face(pen: &mut Pen, species: Species, coat: Coat) {
    let dark = Rgb::hex(0x1d1518);
    pen.twins([0.095, -0.68], [0.038, 0.044], dark);
    if coat.eyes.luma() > 0.2 {
        pen.twins([0.095, -0.68], [0.032, 0.038], coat.eyes);
        pen.twins([0.095, -0.68], [0.014, 0.034], dark);
    }
    pen.ellipse([-0.083, -0.695], [0.012, 0.013], Rgb::WHITE);
    pen.ellipse([0.107, -0.695], [0.012, 0.013], Rgb::WHITE);
    let wide = if species == Species::Koala { [0.042, 0.058] } else { [0.032, 0.023] };
    pen.ellipse([0.0, -0.612], wide, coat.nose);
    pen.line(&[[0.0, -0.6, 0.005], [0.0, -0.572, 0.005]], dark);
    pen.twin_lines(&[[0.0, -0.572, 0.0055], [0.024, -0.556, 0.0055], [0.05, -0.566, 0.004]], dark);
    pen.haze([-0.155, -0.61], [0.045, 0.032], Rgb::hex(0xf08a80), 0.32);
    pen.haze([0.155, -0.61], [0.045, 0.032], Rgb::hex(0xf08a80), 0.32);
    if matches!(species, Species::Cat | Species::Tiger | Species::Rabbit | Species::Mouse | Species::Lion) {
        let whisker = coat.fur.mix(Rgb::WHITE, 0.75);
        pen.twin_lines(&[[0.1, -0.59, 0.004], [0.31, -0.62, 0.0015]], whisker);
        pen.twin_lines(&[[0.1, -0.57, 0.004], [0.31, -0.56, 0.0015]], whisker);
    }
}

fn antlers(pen: &mut Pen) {
    let horn = Rgb::hex(0xc9a878);
    pen.twin_lines(&[[0.06, -0.8, 0.02], [0.11, -0.95, 0.017], [0.09, -1.12, 0.008]], horn);
    pen.twin_lines(&[[0.11, -0.95, 0.015], [0.2, -1.06, 0.007]], horn);
    pen.twin_lines(&[[0.105, -1.03, 0.012], [0.16, -1.13, 0.006]], horn);
}

fn bird(pen: &mut Pen, species: Species, coat: Option<Rgb>) {
    let penguin = species == Species::Penguin;
    let plumage = coat.unwrap_or(Rgb::hex(if penguin { 0x2b3246 } else { 0x8a6847 }));
    let pale = Rgb::hex(if penguin { 0xfbfbf8 } else { 0xf0dfc2 });
    let orange = Rgb::hex(0xf0a035);
    pen.twins([0.1, -0.025], [0.085, 0.035], orange);
    pen.twin_lines(&[[0.23, -0.5, 0.07], [0.3, -0.3, 0.055], [0.29, -0.14, 0.02]], plumage.mix(Rgb::BLACK, 0.2));
    pen.ellipse([0.0, -0.38], [0.27, 0.36], plumage);
    if !penguin {
        pen.twin_polygons(&[[0.08, -0.84], [0.23, -0.72], [0.23, -0.98]], 0.015, plumage);
    }
    pen.ellipse([0.0, -0.7], [0.235, 0.205], plumage);
    pen.ellipse([0.0, -0.33], [0.185, 0.285], pale);
    if !penguin {
        let speckle = plumage.mix(pale, 0.3);
        for row in 0..4_u8 {
            for (x, width) in [(0.0, 0.022), (0.075, 0.02)] {
                pen.twins([x + 0.02, -0.46 + 0.085 * f32::from(row)], [width, 0.014], speckle);
            }
        }
    }
    let [disc, eye] = if penguin { [0.105, 0.042] } else { [0.118, 0.062] };
    pen.twins([0.095, -0.7], [disc, disc * 1.05], pale);
    if !penguin {
        pen.twins([0.1, -0.71], [0.08, 0.08], orange.mix(Rgb::hex(0xffe070), 0.6));
    }
    pen.twins([0.1, -0.71], [eye, eye], Rgb::hex(0x1d1518));
    pen.ellipse([-0.085, -0.728], [0.016, 0.017], Rgb::WHITE);
    pen.ellipse([0.115, -0.728], [0.016, 0.017], Rgb::WHITE);
    pen.polygon(&[[-0.038, -0.645], [0.038, -0.645], [0.0, -0.575]], 0.014, orange);
    pen.haze([-0.165, -0.625], [0.04, 0.03], Rgb::hex(0xf08a80), 0.35);
    pen.haze([0.165, -0.625], [0.04, 0.03], Rgb::hex(0xf08a80), 0.35);
}
