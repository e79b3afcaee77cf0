//! What falls, drifts and glimmers in front of everything else.

use super::canvas::{Frame, Layer, Rgb, Row, coverage, glow, length, smoothstep};
use super::noise::{Noise, Random};

/// Slanting streaks of rain.
pub struct Rain {
    /// Each: x and y of the lower end, length, opacity.
    drops: Vec<[f32; 4]>,
    color: Rgb,
}

const SLANT: f32 = 0.2;

impl Rain {
    pub fn new(random: &mut Random, frame: Frame, color: Rgb) -> Self {
        let unit = frame.unit();
        let count = (420.0 * (frame.aspect() / unit).min(10.0)) as usize;
        let drop = |_| {
            let near = random.unit().powi(2);
            [random.between(-0.1, 1.2) * frame.aspect(), random.between(0.0, 1.1), unit * (0.02 + 0.06 * near), 0.1 + 0.24 * near]
        };
        Self { drops: (0..count).map(drop).collect(), color }
    }
}

impl Layer for Rain {
    fn paint(&self, row: &mut Row) {
        let (y, pixel) = (row.y, row.pixel);
        for [foot_x, foot_y, length, opacity] in &self.drops {
            let up = (foot_y - y) / length;
            if !(0.0..=1.0).contains(&up) {
                continue;
            }
            let middle = foot_x + (foot_y - y) * SLANT;
            let half = 0.000_8 + pixel * 0.15;
            for (x, color) in row.span(middle - half, middle + half) {
                let inside = coverage((x - middle).abs() - half, pixel) * opacity * (1.0 - up);
                *color = color.mix(self.color, inside);
            }
        }
    }
}

/// Flakes: many small, a few large and out of focus.
pub struct Snowfall {
    /// Each: x, y, radius, opacity, softness.
    flakes: Vec<[f32; 5]>,
}

impl Snowfall {
    pub fn new(random: &mut Random, frame: Frame) -> Self {
        let unit = frame.unit();
        let count = (300.0 * (frame.aspect() / unit).min(10.0)) as usize;
        let flake = |_| {
            let near = random.unit().powi(5);
            let radius = unit * (0.0016 + 0.0125 * near) + frame.pixel() * 0.3;
            [random.unit() * frame.aspect(), random.unit(), radius, 0.85 - 0.6 * near, 0.25 + 0.7 * near]
        };
        Self { flakes: (0..count).map(flake).collect() }
    }
}

impl Layer for Snowfall {
    fn paint(&self, row: &mut Row) {
        let (y, pixel) = (row.y, row.pixel);
        for [flake_x, flake_y, radius, opacity, softness] in &self.flakes {
            let dy = y - flake_y;
            let soft = radius * softness + pixel * 0.5;
            if dy.abs() > radius + soft {
                continue;
            }
            for (x, color) in row.span(flake_x - radius - soft, flake_x + radius + soft) {
                let distance = length(x - flake_x, dy) - radius;
                *color = color.mix(Rgb::WHITE, smoothstep(soft, -soft, distance) * opacity);
            }
        }
    }
}

/// Small warm lights that float.
pub struct Fireflies {
    /// Each: x, y, radius.
    lights: Vec<[f32; 3]>,
}

impl Fireflies {
    pub fn new(random: &mut Random, frame: Frame) -> Self {
        let unit = frame.unit();
        let count = (46.0 * (frame.aspect() / unit).min(10.0)) as usize;
        let light = |_| [random.unit() * frame.aspect(), random.between(0.5, 0.98), unit * random.between(0.0018, 0.0046)];
        Self { lights: (0..count).map(light).collect() }
    }
}

impl Layer for Fireflies {
    fn paint(&self, row: &mut Row) {
        let y = row.y;
        for [light_x, light_y, radius] in &self.lights {
            let reach = radius * 11.0;
            let dy = y - light_y;
            if dy.abs() > reach {
                continue;
            }
            for (x, color) in row.span(light_x - reach, light_x + reach) {
                let distance = ((x - light_x).powi(2) + dy * dy) / (radius * radius);
                let edge = smoothstep(121.0, 40.0, distance);
                let shine = glow(distance * 0.5) * 1.1 + glow(distance / 22.0) * 0.3 * edge;
                *color = color.plus(Rgb::hex(0xffd864), shine);
            }
        }
    }
}

/// A bank of fog that thickens towards its middle.
pub struct Fog {
    pub noise: Noise,
    pub y: f32,
    pub height: f32,
    pub color: Rgb,
    pub opacity: f32,
}

impl Layer for Fog {
    fn paint(&self, row: &mut Row) {
        let across = (row.y - self.y) / self.height;
        let thick = smoothstep(1.0, 0.0, across.abs()) * self.opacity;
        if thick <= 0.0 {
            return;
        }
        let y = row.y;
        for (x, color) in row.pixels() {
            let drift = 0.45 + 0.75 * self.noise.fractal(x * 2.1, y * 8.0, 3);
            *color = color.mix(self.color, (thick * drift).min(1.0));
        }
    }
}
