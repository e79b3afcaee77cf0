//! The sky of any hour: its gradient, the sun, moon or planet, a rainbow, clouds.

use super::canvas::{Layer, Rgb, Row, coverage, glow, length, smoothstep};
use super::noise::Noise;
use super::palette::Palette;

/// The gradient, brighter around the sun or moon.
pub struct Sky {
    palette: Palette,
    horizon: f32,
    sun: (f32, f32),
    glow: f32,
}

impl Sky {
    /// The sky down to `horizon`; `glow` is how strongly the sun colors it, 0 to 1.
    pub fn new(palette: Palette, horizon: f32, sun: (f32, f32), glow: f32) -> Self {
        Self { palette, horizon, sun, glow }
    }
}

impl Layer for Sky {
    fn paint(&self, row: &mut Row) {
        let depth = (row.y / self.horizon).clamp(0.0, 1.0);
        let Palette { zenith, middle, horizon, .. } = self.palette;
        let base = if depth < 0.55 {
            zenith.mix(middle, smoothstep(-0.15, 0.6, depth))
        } else {
            zenith.mix(middle, smoothstep(-0.15, 0.6, depth)).mix(horizon, smoothstep(0.5, 1.05, depth))
        };
        let (sun_x, sun_y) = self.sun;
        let y = row.y;
        let light = self.palette.glow;
        for (x, color) in row.pixels() {
            let distance = (x - sun_x).powi(2) + (y - sun_y).powi(2);
            // A wide glow that hugs the horizon, and a narrow one.
            let wide = glow((x - sun_x).powi(2) / 0.42 + (y - sun_y).powi(2) / 0.11);
            let narrow = glow(distance / 0.018);
            *color = base.mix(light, wide * 0.6 * self.glow).plus(light, narrow * 0.85 * self.glow);
        }
    }
}

/// What a disc shows.
#[derive(Clone, Copy, Debug)]
pub enum Face {
    Sun,
    Moon { seas: Noise, crescent: bool },
    Planet { clouds: Noise },
}

/// The sun, a moon or a planet.
pub struct Disc {
    pub x: f32,
    pub y: f32,
    pub radius: f32,
    pub color: Rgb,
    pub face: Face,
}

impl Disc {
    /// The color at a place on the disc, and how much of it can be seen there.
    fn surface(&self, dx: f32, dy: f32) -> (Rgb, f32) {
        match self.face {
            Face::Sun => (self.color, 1.0),
            Face::Moon { seas, crescent } => {
                let sea = smoothstep(0.5, 0.7, seas.fractal(dx * 1.6 + 9.0, dy * 1.6, 4));
                let face = self.color.mix(self.color.under(Rgb::hex(0xb4b8c8)), sea * 0.7).mix(Rgb::BLACK, 0.08 * (dx * dx + dy * dy).min(1.0));
                let shadow = length(dx - 0.55, dy + 0.25);
                (face, if crescent { smoothstep(0.93, 1.02, shadow) } else { 1.0 })
            }
            Face::Planet { clouds } => {
                let tilted = dy * 0.94 + dx * 0.34;
                let band = clouds.fractal(dx * 0.9, tilted * 5.0 + clouds.at(dx * 2.5, tilted * 4.0) * 0.9, 4);
                let body = self.color.mix(Rgb::hex(0x5a2f4a), smoothstep(0.5, 0.75, band) * 0.6).mix(Rgb::WHITE, smoothstep(0.45, 0.2, band) * 0.45);
                let depth = (1.0 - dx * dx - dy * dy).max(0.0).sqrt();
                let light = smoothstep(-0.12, 0.75, 0.55 * depth - 0.62 * dx - 0.5 * dy);
                (Rgb::hex(0x080614).mix(body, light), 1.0)
            }
        }
    }
}

impl Layer for Disc {
    fn paint(&self, row: &mut Row) {
        let (y, pixel) = (row.y, row.pixel);
        let reach = self.radius * 7.0;
        if (y - self.y).abs() > reach {
            return;
        }
        let halo = match self.face {
            Face::Sun => 0.3,
            Face::Moon { .. } => 0.2,
            Face::Planet { .. } => 0.06,
        };
        for (x, color) in row.span(self.x - reach, self.x + reach) {
            let (dx, dy) = ((x - self.x) / self.radius, (y - self.y) / self.radius);
            let distance = length(dx, dy);
            let inside = coverage((distance - 1.0) * self.radius, pixel);
            *color = color.plus(self.color, halo * smoothstep(7.0, 1.0, distance).powi(3));
            if inside > 0.0 {
                let (surface, shown) = self.surface(dx, dy);
                *color = color.mix(surface, inside * shown);
            }
        }
    }
}

/// A rainbow, standing opposite the sun.
pub struct Rainbow {
    pub x: f32,
    pub y: f32,
    pub radius: f32,
}

impl Layer for Rainbow {
    fn paint(&self, row: &mut Row) {
        const BANDS: [u32; 7] = [0x7a4fd0, 0x4563dd, 0x3fa9e8, 0x55c96a, 0xf3e35c, 0xf79c45, 0xea4b45];
        let y = row.y;
        for (x, color) in row.span(self.x - self.radius, self.x + self.radius) {
            let distance = ((x - self.x).powi(2) + (y - self.y).powi(2)).sqrt();
            let across = (distance / self.radius - 0.86) / 0.12;
            if !(0.0..1.0).contains(&across) {
                continue;
            }
            let place = across * 6.0;
            let (lower, upper) = (BANDS[place as usize], BANDS[(place as usize + 1).min(6)]);
            let band = Rgb::hex(lower).mix(Rgb::hex(upper), place.fract());
            let soft = smoothstep(0.0, 0.25, across) * smoothstep(1.0, 0.75, across);
            *color = color.mix(band, soft * 0.5);
        }
    }
}

/// A flat layer of clouds, seen from below, smaller towards the horizon.
pub struct Clouds {
    pub noise: Noise,
    pub palette: Palette,
    pub horizon: f32,
    pub sun: (f32, f32),
    /// 0 is a clear sky, 1 an overcast one.
    pub cover: f32,
}

impl Layer for Clouds {
    fn paint(&self, row: &mut Row) {
        let height = self.horizon - row.y;
        let fade = smoothstep(0.0, 0.16, height);
        if fade <= 0.0 {
            return;
        }
        let middle = row.width() / 2.0;
        let distance = 1.0 / (height + 0.22);
        let v = distance * 2.0;
        let threshold = 0.64 - self.cover * 0.34;
        let y = row.y;
        for (x, color) in row.pixels() {
            let u = (x - middle) * distance * 1.25;
            // Fine structure adds at most a tenth, so clear sky is known early.
            let coarse = self.noise.fractal(u, v, 3);
            if coarse * 0.9 + 0.1 <= threshold {
                continue;
            }
            let density = coarse * 0.9 + 0.1 * self.noise.fractal(u * 8.4, v * 8.4, 2);
            let cloud = smoothstep(threshold, threshold + 0.16, density);
            if cloud <= 0.0 {
                continue;
            }
            let (to_x, to_y) = (self.sun.0 - x, self.sun.1 - y);
            let length = (to_x * to_x + to_y * to_y).sqrt().max(0.05);
            let towards = self.noise.fractal(u + to_x / length * 0.16, v + to_y / length * 0.3, 2);
            let lit = (0.5 + (density - towards) * 2.0).clamp(0.0, 1.0);
            let near_sun = glow(length * length / 0.05);
            let body = self.palette.cloud_dark.mix(self.palette.cloud_bright, lit).plus(self.palette.glow, near_sun * lit * 0.35);
            let thin = 1.0 - 0.9 * glow(length * length / 0.02) * (1.0 - self.cover);
            *color = color.mix(body, cloud * fade * thin * (0.72 + 0.25 * self.cover));
        }
    }
}
