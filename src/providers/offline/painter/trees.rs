//! Trees: conifers in groves, and broad-leaved ones that stand alone.

use super::canvas::{Layer, Rgb, Row, coverage, length, smoothstep};
use super::noise::{Noise, Random};

/// How far a conifer's branches hang down on their way out.
const DROOP: f32 = 0.34;

/// A conifer: tiers of branches that widen downwards.
pub struct Conifer {
    pub x: f32,
    pub foot: f32,
    pub height: f32,
    pub tiers: f32,
}

/// Conifers of one distance, back to front.
pub struct Grove {
    pub trees: Vec<Conifer>,
    pub color: Rgb,
    pub lit: Rgb,
    pub bark: Rgb,
    /// What lies on the branches.
    pub snow: Option<Rgb>,
    pub light_from: f32,
    pub noise: Noise,
}

impl Grove {
    fn needles(&self, tier: f32, across: f32, grain: f32) -> Rgb {
        let light = (0.28 + 0.4 * across + 0.5 * (grain - 0.5)) * (1.0 - 0.8 * tier);
        let body = self.color.mix(self.lit, light.clamp(0.0, 1.0)).mix(Rgb::BLACK, 0.18 * tier * tier);
        self.snow.map_or(body, |snow| {
            let lies = smoothstep(0.78, 0.3, tier + 0.5 * (grain - 0.5));
            body.mix(snow.mix(self.color, (0.25 - 0.25 * across).clamp(0.0, 0.5)), lies * 0.92)
        })
    }

    fn paint_tree(&self, tree: &Conifer, row: &mut Row) {
        let t = (row.y - tree.foot) / tree.height + 1.0;
        if !(0.0..1.0).contains(&t) {
            return;
        }
        let pixel = row.pixel;
        let reach = (0.02 + 0.25 * t) * tree.height;
        for (x, color) in row.span(tree.x - reach, tree.x + reach) {
            let dx = x - tree.x;
            let out = dx.abs() / tree.height;
            let along = t - DROOP * out;
            let tiers = along.max(0.0) * tree.tiers;
            let tier = tiers - (tiers as i32) as f32;
            let grain = self.noise.at(along * tree.tiers * 5.0 + tree.x * 57.0, dx / tree.height * 46.0);
            let cone = 0.004 + 0.2 * along.clamp(0.0, 1.0);
            let half = cone * (0.56 + 0.44 * tier) * (0.8 + 0.4 * grain);
            let skirt = coverage((t - 0.955) * tree.height, pixel);
            let inside = coverage((out - half) * tree.height * 0.9, pixel) * skirt;
            if t > 0.9 {
                *color = color.mix(self.bark, coverage((out - 0.017) * tree.height, pixel));
            }
            if inside > 0.0 {
                let across = (dx / (half * tree.height).max(pixel)).clamp(-1.0, 1.0) * self.light_from;
                *color = color.mix(self.needles(tier, across, grain), inside);
            }
        }
    }
}

impl Layer for Grove {
    fn paint(&self, row: &mut Row) {
        for tree in &self.trees {
            self.paint_tree(tree, row);
        }
    }
}

struct Clump {
    x: f32,
    y: f32,
    radius: f32,
    turn: f32,
    tone: Rgb,
}

/// A broad-leaved tree: a crown of many clumps of leaves on a trunk.
pub struct Leafy {
    x: f32,
    foot: f32,
    height: f32,
    clumps: Vec<Clump>,
    bark: Rgb,
    light_from: f32,
}

impl Leafy {
    pub fn new(random: &mut Random, [x, foot, height]: [f32; 3], [leaves, bark]: [Rgb; 2], light_from: f32) -> Self {
        let mut clumps: Vec<(f32, Clump)> = (0..150)
            .map(|_| {
                let (angle, far) = (random.between(0.0, std::f32::consts::TAU), random.unit().sqrt());
                let (dx, dy) = (angle.cos() * far * 0.33 * height, angle.sin() * far * 0.28 * height);
                let lit = 0.5 + 0.5 * (light_from * dx - dy * 1.3) / (0.34 * height) + random.between(-0.16, 0.16);
                let lit = lit.clamp(0.0, 1.0);
                let tone = leaves.mix(Rgb::BLACK, 0.4 * (1.0 - lit)).mix(Rgb::hex(0xfff0b0), 0.26 * lit * lit);
                let radius = height * random.between(0.04, 0.075);
                (lit, Clump { x: x + dx, y: foot - height * 0.64 + dy, radius, turn: angle * 3.0, tone })
            })
            .collect();
        // Lit clumps are in front, or the crown looks hollow.
        clumps.sort_by(|one, other| one.0.total_cmp(&other.0));
        let clumps = clumps.into_iter().map(|(_, clump)| clump).collect();
        Self { x, foot, height, clumps, bark, light_from }
    }

    fn paint_trunk(&self, row: &mut Row) {
        let pixel = row.pixel;
        let up = (self.foot - row.y) / (self.height * 0.5);
        if !(0.0..=1.0).contains(&up) {
            return;
        }
        let half = self.height * 0.035 * (0.6 + 0.55 * (1.0 - up).powi(4) + 0.4 * up * up);
        for (x, color) in row.span(self.x - half, self.x + half) {
            let dx = x - self.x;
            let shade = (0.25 - 0.25 * self.light_from * dx / half).clamp(0.0, 0.6);
            *color = color.mix(self.bark.mix(Rgb::BLACK, shade), coverage(dx.abs() - half, pixel));
        }
    }
}

impl Layer for Leafy {
    fn paint(&self, row: &mut Row) {
        self.paint_trunk(row);
        let (y, pixel) = (row.y, row.pixel);
        for clump in &self.clumps {
            let dy = y - clump.y;
            if dy.abs() > clump.radius + pixel {
                continue;
            }
            for (x, color) in row.span(clump.x - clump.radius, clump.x + clump.radius) {
                let dx = x - clump.x;
                let leaves = (dy.atan2(dx) * 7.0 + clump.turn).sin();
                let edge = clump.radius * (0.86 + 0.14 * leaves);
                let inside = coverage(length(dx, dy) - edge, pixel);
                let gradient = (dx * self.light_from - dy) / clump.radius;
                *color = color.mix(clump.tone.mix(Rgb::WHITE, (gradient * 0.06).clamp(0.0, 1.0)), inside);
            }
        }
    }
}
