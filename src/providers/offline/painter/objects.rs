//! Single things: boats, balloons, houses, palms, cacti, birds.

use super::canvas::Rgb;
use super::figure::{Figure, Pen};
use super::noise::Random;

/// A sailing boat on the water.
pub fn boat([x, y, size]: [f32; 3], facing: f32, sail: Option<Rgb>, light: Rgb) -> Figure {
    let sail = sail.unwrap_or(Rgb::hex(0xfdf6e9));
    let mut pen = Pen::new(x, y, size, facing, light);
    pen.haze([0.0, 0.05], [0.42, 0.035], Rgb::hex(0x0a1424), 0.35);
    pen.line(&[[0.0, -0.1, 0.012], [0.0, -1.0, 0.008]], Rgb::hex(0x5b4332));
    pen.polygon(&[[0.03, -0.95], [0.03, -0.19], [0.34, -0.19], [0.2, -0.6]], 0.008, sail);
    pen.polygon(&[[-0.03, -0.84], [-0.03, -0.19], [-0.26, -0.19]], 0.008, sail.mix(Rgb::hex(0x7a86a0), 0.22));
    pen.polygon(&[[-0.36, -0.13], [0.44, -0.13], [0.27, 0.03], [-0.24, 0.03]], 0.015, Rgb::hex(0x8e4630));
    pen.polygon(&[[-0.37, -0.135], [0.45, -0.135], [0.42, -0.1], [-0.345, -0.1]], 0.008, Rgb::hex(0xf3e6cf));
    pen.finish()
}

/// A hot-air balloon with its stripes.
pub fn balloon([x, y, size]: [f32; 3], color: Rgb, light: Rgb) -> Figure {
    let mut pen = Pen::new(x, y, size, 1.0, light);
    let pale = Rgb::hex(0xfff2dc);
    pen.twin_lines(&[[0.2, -0.32, 0.005], [0.065, -0.09, 0.005]], Rgb::hex(0x5b4332));
    pen.polygon(&[[-0.29, -0.48], [0.29, -0.48], [0.09, -0.22], [-0.09, -0.22]], 0.02, color);
    pen.ellipse([0.0, -0.64], [0.335, 0.345], color);
    for (width, stripe) in [(0.245, pale), (0.15, color), (0.06, pale)] {
        pen.polygon(&[[-width * 0.86, -0.48], [width * 0.86, -0.48], [width * 0.31, -0.22], [-width * 0.31, -0.22]], 0.01, stripe);
        pen.ellipse([0.0, -0.64], [width, 0.345], stripe);
    }
    pen.haze([-0.14, -0.78], [0.1, 0.11], Rgb::WHITE, 0.35);
    pen.polygon(&[[-0.07, -0.09], [0.07, -0.09], [0.055, 0.0], [-0.055, 0.0]], 0.012, Rgb::hex(0x9a6a3c));
    pen.finish()
}

/// A small house whose windows are lit when it is dark.
pub fn house([x, y, size]: [f32; 3], facing: f32, walls: Option<Rgb>, light: Rgb, lit: bool, snow: Option<Rgb>) -> Figure {
    let walls = walls.unwrap_or(Rgb::hex(0xf2e3cb));
    let roof = Rgb::hex(0xa8503c);
    let window = if lit { Rgb::hex(0xffd777) } else { Rgb::hex(0x9cc6dc).under(light) };
    let mut pen = Pen::new(x, y, size, facing, light);
    pen.haze([0.0, 0.0], [0.62, 0.05], Rgb::hex(0x0a0c18), 0.35);
    pen.polygon(&[[0.2, -0.55], [0.34, -0.55], [0.34, -0.98], [0.2, -0.98]], 0.0, Rgb::hex(0x9c5a48));
    for (x, y, puff) in [(0.28, -1.06, 0.05), (0.33, -1.16, 0.07), (0.31, -1.3, 0.09), (0.38, -1.46, 0.1)] {
        pen.haze([x, y], [puff, puff], Rgb::hex(0xf2f0f4).mix(Rgb::BLACK, if lit { 0.4 } else { 0.0 }), 0.34);
    }
    pen.polygon(&[[-0.48, -0.5], [0.48, -0.5], [0.48, 0.0], [-0.48, 0.0]], 0.0, walls);
    pen.polygon(&[[-0.6, -0.48], [0.6, -0.48], [0.36, -0.88], [-0.36, -0.88]], 0.02, snow.unwrap_or(roof));
    if snow.is_some() {
        pen.polygon(&[[-0.61, -0.485], [0.61, -0.485], [0.6, -0.455], [-0.6, -0.455]], 0.008, roof);
    }
    pen.polygon(&[[-0.09, -0.34], [0.09, -0.34], [0.09, 0.0], [-0.09, 0.0]], 0.01, Rgb::hex(0x6e4630));
    for middle in [-0.29, 0.29] {
        if lit {
            pen.haze([middle, -0.28], [0.2, 0.2], Rgb::hex(0xffb84a), 0.4);
        }
        pen.lamp(&[[middle - 0.09, -0.37], [middle + 0.09, -0.37], [middle + 0.09, -0.17], [middle - 0.09, -0.17]], window);
        pen.line(&[[middle, -0.37, 0.009], [middle, -0.17, 0.009]], Rgb::hex(0xfaf3e6));
        pen.line(&[[middle - 0.09, -0.27, 0.009], [middle + 0.09, -0.27, 0.009]], Rgb::hex(0xfaf3e6));
    }
    pen.finish()
}

/// A palm that leans over.
pub fn palm([x, y, size]: [f32; 3], facing: f32, light: Rgb) -> Figure {
    let mut pen = Pen::new(x, y, size, facing, light);
    let (bark, dark, green) = (Rgb::hex(0x8a6442), Rgb::hex(0x2c6b3c), Rgb::hex(0x4c9a4a));
    pen.haze([0.05, 0.0], [0.22, 0.03], Rgb::hex(0x1a1420), 0.35);
    pen.line(&[[0.0, 0.01, 0.036], [0.02, -0.3, 0.026], [0.09, -0.6, 0.022], [0.2, -0.86, 0.018]], bark);
    let (top_x, top_y) = (0.2, -0.87);
    for (reach, rise, fall, leaf) in [
        (0.34, -0.14, 0.12, dark),
        (-0.34, -0.15, 0.14, dark),
        (0.2, -0.2, 0.02, dark),
        (-0.18, -0.2, 0.0, green),
        (0.4, -0.03, 0.34, green),
        (-0.4, -0.04, 0.34, green),
        (0.22, 0.06, 0.42, green),
        (-0.2, 0.05, 0.4, dark),
    ] {
        let bend = [top_x + reach * 0.5, top_y + rise, 0.04];
        let tip = [top_x + reach, top_y + fall, 0.002];
        pen.line(&[[top_x, top_y, 0.012], bend, [top_x + reach * 0.85, top_y + (rise + fall) * 0.45, 0.026], tip], leaf);
    }
    for at in [[0.18, -0.83], [0.225, -0.835], [0.205, -0.81]] {
        pen.ellipse(at, [0.026, 0.028], Rgb::hex(0x6b4426));
    }
    pen.finish()
}

/// A saguaro with two arms.
pub fn cactus([x, y, size]: [f32; 3], facing: f32, light: Rgb) -> Figure {
    let mut pen = Pen::new(x, y, size, facing, light);
    let (green, rib) = (Rgb::hex(0x4d7f4a), Rgb::hex(0x3a6640));
    pen.haze([0.1, 0.0], [0.34, 0.035], Rgb::hex(0x1a1420), 0.35);
    pen.line(&[[-0.02, -0.38, 0.06], [-0.26, -0.4, 0.062], [-0.27, -0.45, 0.06], [-0.27, -0.68, 0.055]], green);
    pen.line(&[[0.02, -0.28, 0.055], [0.23, -0.3, 0.056], [0.24, -0.35, 0.055], [0.24, -0.52, 0.05]], green);
    pen.line(&[[0.0, 0.0, 0.095], [0.0, -0.9, 0.085]], green);
    for across in [-0.04, 0.0, 0.04] {
        pen.line(&[[across, -0.01, 0.007], [across, -0.9, 0.005]], rib);
    }
    pen.ellipse([0.0, -0.99], [0.04, 0.03], Rgb::hex(0xf0709a));
    pen.finish()
}

/// A loose flock around a point, as people sketch birds far away.
pub fn birds(random: &mut Random, [x, y, spread]: [f32; 3], color: Rgb) -> Vec<Figure> {
    (0..7)
        .map(|_| {
            let size = spread * random.between(0.05, 0.11);
            let at = [x + spread * random.between(-0.8, 0.8), y + spread * random.between(-0.3, 0.3)];
            let lift = random.between(0.1, 0.42);
            let mut pen = Pen::new(at[0], at[1], size, if random.chance(0.5) { 1.0 } else { -1.0 }, Rgb::WHITE);
            let wing = [[0.0, 0.0, 0.075], [0.3, -lift - 0.12, 0.065], [0.6, -lift - 0.1, 0.05], [0.95, 0.12 - lift, 0.015]];
            pen.twin_lines(&wing, color);
            pen.line(&[[-0.03, 0.0, 0.06], [0.2, 0.08, 0.03]], color);
            pen.finish()
        })
        .collect()
}
