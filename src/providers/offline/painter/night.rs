//! What shines in a dark sky: stars, nebulae, northern lights.

use super::canvas::{Frame, Layer, Rgb, Row, glow, smoothstep};
use super::noise::{Noise, Random};

struct Star {
    x: f32,
    y: f32,
    radius: f32,
    color: Rgb,
    sparkles: bool,
}

/// Stars, fewer and paler towards the horizon.
pub struct Stars(Vec<Star>);

impl Stars {
    pub fn new(random: &mut Random, frame: Frame, horizon: f32, density: f32) -> Self {
        let count = (320.0 * density * frame.aspect().min(8.0)) as usize;
        let star = |_| {
            let height = random.unit();
            let bright = random.unit().powi(6);
            let hue = random.pick([0xffffff, 0xcfdcff, 0xffeed2, 0xe4ecff]);
            let fade = smoothstep(1.0, 0.35, height);
            Star {
                x: random.unit() * frame.aspect(),
                y: height * horizon,
                radius: 0.000_75 + bright * 0.0014 + frame.pixel() * 0.25,
                color: Rgb::hex(hue).mix(Rgb::BLACK, 1.0 - fade * (0.3 + 0.7 * random.unit())),
                sparkles: bright > 0.55,
            }
        };
        Self((0..count).map(star).collect())
    }
}

impl Layer for Stars {
    fn paint(&self, row: &mut Row) {
        let y = row.y;
        for star in &self.0 {
            let reach = star.radius * if star.sparkles { 9.0 } else { 3.5 };
            if (y - star.y).abs() > reach {
                continue;
            }
            for (x, color) in row.span(star.x - reach, star.x + reach) {
                let (dx, dy) = ((x - star.x) / star.radius, (y - star.y) / star.radius);
                let mut shine = glow((dx * dx + dy * dy) * 0.9);
                if star.sparkles {
                    let cross = glow(dx * dx * 9.0) * glow(dy * dy * 0.07) + glow(dy * dy * 9.0) * glow(dx * dx * 0.07);
                    shine += cross * 0.5;
                }
                *color = color.plus(star.color, shine);
            }
        }
    }
}

/// Clouds of colored gas, or a milky way.
pub struct Nebula {
    pub noise: Noise,
    /// Two hues that alternate, and the one of the dense cores.
    pub colors: [Rgb; 3],
    pub strength: f32,
    /// How steeply the band of gas crosses the sky.
    pub slope: f32,
    pub horizon: f32,
}

impl Layer for Nebula {
    fn paint(&self, row: &mut Row) {
        let y = row.y;
        let middle = row.width() / 2.0;
        let fade = smoothstep(self.horizon, self.horizon * 0.5, y) * self.strength;
        if fade <= 0.0 {
            return;
        }
        for (x, color) in row.pixels() {
            let across = y - self.horizon * 0.42 + (x - middle) * self.slope;
            let band = glow(across * across * 9.0);
            if band < 0.03 {
                continue;
            }
            let warp = self.noise.fractal(x * 1.7 + 40.0, y * 1.7, 3);
            let gas = self.noise.fractal(x * 2.4 + warp * 1.8, y * 2.4 - warp, 4);
            let dust = smoothstep(0.45, 0.75, self.noise.fractal(x * 3.1 - warp, y * 3.1 + 70.0, 3));
            let density = smoothstep(0.3, 0.85, gas) * band * fade;
            let hue = self.colors[0].mix(self.colors[1], smoothstep(0.35, 0.62, warp));
            let core = self.colors[2];
            *color = color.plus(hue, density * 1.7).plus(core, (density * density) * 0.9).mix(Rgb::hex(0x050716), dust * band * fade * 0.35);
        }
    }
}

/// Where a curtain of light hangs in one column.
struct Ray {
    foot: f32,
    length: f32,
    strength: f32,
}

/// Curtains of northern light.
pub struct Aurora(Vec<[Ray; 2]>);

impl Aurora {
    pub fn new(noise: Noise, frame: Frame, horizon: f32) -> Self {
        let ray = |x: f32, curtain: f32, lift: f32, length: f32| {
            let bend = noise.fractal(x * 1.9 + curtain, 3.0, 4) - 0.5;
            let folds = noise.fractal((x + bend * 0.5) * 21.0 + curtain, 1.0, 4);
            let sway = smoothstep(0.25, 0.65, noise.at(x * 1.9 - curtain, 8.0));
            let strength = sway * (0.25 + 1.1 * smoothstep(0.25, 0.8, folds));
            Ray { foot: horizon * (lift + 0.75 * bend), length, strength }
        };
        let columns = (0..frame.width).map(|column| f32::from(column) * frame.pixel());
        Self(columns.map(|x| [ray(x, 0.0, 0.7, 0.3), ray(x, 31.0, 0.46, 0.24)]).collect())
    }
}

impl Layer for Aurora {
    fn paint(&self, row: &mut Row) {
        const LOW: Rgb = Rgb::hex(0x3cf0a0);
        const HIGH: Rgb = Rgb::hex(0x8a4be0);
        let y = row.y;
        for (color, rays) in row.colors.iter_mut().zip(&self.0) {
            for ray in rays {
                let above = (ray.foot - y) / ray.length;
                if !(-0.12..=2.2).contains(&above) {
                    continue;
                }
                let shape = smoothstep(-0.12, 0.06, above) * (-above * 1.9).exp().min(1.0);
                *color = color.plus(LOW.mix(HIGH, smoothstep(0.1, 1.1, above)), shape * ray.strength * 0.95);
            }
        }
    }
}
