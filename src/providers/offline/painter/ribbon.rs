//! Abstract pictures: bands like cut paper, one in front of the other.

use super::canvas::{Layer, Rgb, Row, coverage, smoothstep};
use super::noise::{Noise, Random};

const BANDS: u8 = 8;

/// Bands from bright ones at the back to dark ones in front, in shades of `tint` where there is one.
pub fn cascade(random: &mut Random, tint: Option<Rgb>) -> Vec<Ribbon> {
    let hues =
        random.pick([[0x3a1c71, 0xd76d77, 0xffaf7b], [0x0f2027, 0x2c7a8c, 0x9be8d8], [0x41295a, 0x7f5af0, 0xf2a7d8], [0x134e5e, 0x71b280, 0xf7e7a9]]);
    let shades = |tint: Rgb| [tint.mix(Rgb::hex(0x0c0a24), 0.7), tint, tint.mix(Rgb::WHITE, 0.6)];
    let [dark, middle, bright] = tint.map_or(hues.map(Rgb::hex), shades);
    let mixed = |t: f32| if t < 0.5 { bright.mix(middle, t * 2.0) } else { middle.mix(dark, t * 2.0 - 1.0) };
    (0..BANDS)
        .map(|band| {
            let t = f32::from(band) / f32::from(BANDS - 1);
            let colors = [mixed(t), mixed((t + 0.28).min(1.0))];
            Ribbon { noise: random.noise(), y: 0.3 + 0.62 * t, swing: random.between(0.25, 0.5), colors }
        })
        .collect()
}

/// A band that swings across the picture and throws a shadow on the one behind it.
pub struct Ribbon {
    noise: Noise,
    y: f32,
    swing: f32,
    colors: [Rgb; 2],
}

impl Layer for Ribbon {
    fn paint(&self, row: &mut Row) {
        let (y, pixel) = (row.y, row.pixel);
        let width = row.width().max(pixel);
        for (x, color) in row.pixels() {
            let top = self.y + self.swing * (self.noise.fractal(x * 1.2, self.y * 3.0, 2) - 0.5);
            let depth = y - top;
            if depth < -0.06 {
                continue;
            }
            let along = x / width;
            let shadow = smoothstep(-0.06, 0.0, depth) * (1.0 - coverage(-depth, pixel)) * 0.28;
            let tone = self.colors[0].mix(self.colors[1], (along * 0.6 + depth * 1.6).clamp(0.0, 1.0));
            let edge = smoothstep(0.035, 0.0, depth) * 0.25;
            *color = color.mix(Rgb::hex(0x120a2c), shadow).mix(tone.mix(Rgb::WHITE, edge), coverage(-depth, pixel));
        }
    }
}
