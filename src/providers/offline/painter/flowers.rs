//! What grows low: flowers and grass.

use super::canvas::{Frame, Layer, Rgb, Row, coverage};
use super::noise::Random;

/// One blossom on its stem.
pub struct Blossom {
    x: f32,
    y: f32,
    foot: f32,
    radius: f32,
    petals: f32,
    turn: f32,
    color: Rgb,
    stem: Rgb,
}

/// Flowers, back to front, so larger ones cover smaller ones.
pub struct Flowerbed(Vec<Blossom>);

impl Flowerbed {
    /// Flowers from `ground(x)` down to the bottom, sparse and small at the back.
    pub fn new(random: &mut Random, frame: Frame, colors: [Rgb; 4], [stem, light]: [Rgb; 2], ground: impl Fn(f32) -> f32) -> Self {
        let unit = frame.unit();
        let count = (210.0 * (frame.aspect() / unit).min(10.0)) as usize;
        let mut blossoms: Vec<Blossom> = (0..count)
            .map(|_| {
                let x = random.between(-0.02, frame.aspect() + 0.02);
                let near = random.unit().powf(0.8);
                let top = ground(x.clamp(0.0, frame.aspect()));
                let radius = unit * (0.0035 + 0.024 * near * near);
                let foot = top + (1.06 - top) * (0.03 + 0.97 * near);
                let color = random.pick(colors).mix(Rgb::WHITE, random.between(0.0, 0.18)).under(light);
                Blossom {
                    x,
                    y: foot - radius * random.between(2.0, 4.2),
                    foot,
                    radius,
                    petals: random.pick([5.0, 5.0, 6.0, 8.0]),
                    turn: random.between(0.0, 6.0),
                    color,
                    stem,
                }
            })
            .collect();
        blossoms.sort_by(|one, other| one.foot.total_cmp(&other.foot));
        Self(blossoms)
    }
}

impl Layer for Flowerbed {
    fn paint(&self, row: &mut Row) {
        for blossom in &self.0 {
            blossom.paint(row);
        }
    }
}

impl Blossom {
    fn paint(&self, row: &mut Row) {
        let (y, pixel) = (row.y, row.pixel);
        if y > self.y && y < self.foot {
            let half = self.radius * 0.09 + pixel * 0.3;
            let lean = self.x + (y - self.y).powi(2) * (self.turn - 3.0) * 0.8;
            for (x, color) in row.span(lean - half, lean + half) {
                *color = color.mix(self.stem, coverage((x - lean).abs() - half, pixel));
            }
        }
        let dy = (y - self.y) / 0.86;
        if dy.abs() > self.radius + pixel {
            return;
        }
        for (x, color) in row.span(self.x - self.radius, self.x + self.radius) {
            let dx = x - self.x;
            let distance = (dx * dx + dy * dy).sqrt();
            let petal = (dy.atan2(dx) * self.petals + self.turn).cos();
            let edge = self.radius * (0.78 + 0.22 * petal);
            let out = (distance / self.radius).min(1.0);
            let tone = self.color.mix(Rgb::BLACK, 0.28 * (1.0 - out) + 0.1 * (1.0 - petal) * out).mix(Rgb::WHITE, 0.16 * out);
            let heart = coverage(distance - self.radius * 0.27, pixel);
            let center = Rgb::hex(0xf7c948).mix(self.stem, 0.15);
            *color = color.mix(tone.mix(center, heart), coverage(distance - edge, pixel));
        }
    }
}

struct Blade {
    x: f32,
    foot: f32,
    height: f32,
    bend: f32,
    color: Rgb,
}

/// Blades of grass along the lower edge.
pub struct Grass(Vec<Blade>);

impl Grass {
    pub fn new(random: &mut Random, frame: Frame, color: Rgb, ground: impl Fn(f32) -> f32) -> Self {
        let unit = frame.unit();
        let count = (1100.0 * (frame.aspect() / unit).min(10.0)) as usize;
        let blade = |_| {
            let x = random.between(-0.02, frame.aspect() + 0.02);
            let near = random.unit();
            let top = ground(x.clamp(0.0, frame.aspect()));
            Blade {
                x,
                foot: top + (1.08 - top) * near + 0.004,
                height: unit * (0.012 + 0.042 * near * random.between(0.5, 1.0)),
                bend: random.between(-0.6, 0.6),
                color: color.mix(if random.chance(0.5) { Rgb::BLACK } else { Rgb::WHITE }, random.between(0.0, 0.16)),
            }
        };
        let mut blades: Vec<Blade> = (0..count).map(blade).collect();
        blades.sort_by(|one, other| one.foot.total_cmp(&other.foot));
        Self(blades)
    }
}

impl Layer for Grass {
    fn paint(&self, row: &mut Row) {
        let (y, pixel) = (row.y, row.pixel);
        for blade in &self.0 {
            let up = (blade.foot - y) / blade.height;
            if !(0.0..=1.0).contains(&up) {
                continue;
            }
            let middle = blade.x + blade.bend * blade.height * up * up;
            let half = blade.height * 0.055 * (1.0 - up) + pixel * 0.2;
            let tone = blade.color.mix(Rgb::hex(0xe8f0a0), up * 0.1);
            for (x, color) in row.span(middle - half, middle + half) {
                *color = color.mix(tone, coverage((x - middle).abs() - half, pixel) * 0.9);
            }
        }
    }
}
