//! Water: what stands above its line, turned upside down and disturbed by waves.

use super::canvas::{Layer, Rgb, Row, coverage, glow, paint_all, smoothstep};
use super::noise::Noise;

/// A lake or a sea that reflects the layers behind it.
pub struct Water {
    /// What is above the line, back to front; the water paints it.
    pub above: Vec<Box<dyn Layer>>,
    pub line: f32,
    pub color: Rgb,
    /// Where the light leaves its path on the waves, and how strong it is.
    pub glitter: (f32, Rgb, f32),
    /// 0 is a mirror, 1 an open sea.
    pub roughness: f32,
    pub noise: Noise,
}

impl Water {
    /// What would be seen at this depth if the water were still.
    fn mirror(&self, row: &Row, depth: f32, distance: f32) -> Row {
        let stretch = 0.9 + 0.35 * self.roughness;
        let swell = (self.noise.at(3.5, distance * 13.0) - 0.5) * depth * 0.16 * self.roughness;
        let y = (self.line - depth * stretch + swell).min(self.line - row.pixel * 0.5);
        let mut mirror = Row { y, pixel: row.pixel, colors: row.colors.clone() };
        paint_all(&self.above, &mut mirror);
        mirror
    }

    fn reflect(&self, row: &mut Row) {
        let depth = (row.y - self.line).max(0.0);
        // Waves come closer together towards the horizon.
        let distance = 1.0 / (depth + 0.05);
        let mirror = self.mirror(row, depth, distance);
        let last = mirror.colors.len().saturating_sub(1);
        let (pixel, dark) = (row.pixel, self.color.mix(Rgb::BLACK, 0.4));
        let sink = 0.14 + 0.34 * smoothstep(0.0, 0.42, depth) * (0.6 + self.roughness * 0.4);
        let (light_x, light, strength) = self.glitter;
        for (column, (x, color)) in row.pixels().enumerate() {
            let wave = self.noise.fractal((x - light_x) * distance * 2.4, distance * 15.0, 4) - 0.5;
            let shift = wave * (0.026 + depth * 0.08) * (0.4 + self.roughness);
            let source = ((column as f32 + shift / pixel).max(0.0) as usize).min(last);
            let reflected = mirror.colors.get(source).copied().unwrap_or(self.color);
            let body = reflected.mix(self.color, sink);
            let crest = wave * (0.25 + 0.5 * self.roughness) * smoothstep(0.0, 0.05, depth);
            let waved = if crest > 0.0 { body.mix(Rgb::WHITE, crest * 0.4) } else { body.mix(dark, -crest * 0.8) };
            let path = glow(((x - light_x) / (0.045 + depth * 0.3)).powi(2));
            let sparkle = smoothstep(0.06, 0.22, wave) * path * strength;
            *color = waved.plus(light, sparkle);
        }
    }
}

impl Layer for Water {
    fn paint(&self, row: &mut Row) {
        if coverage(self.line - row.y, row.pixel) > 0.5 {
            self.reflect(row);
        } else {
            paint_all(&self.above, row);
        }
    }

    fn covers_below(&self) -> f32 {
        self.line
    }
}
