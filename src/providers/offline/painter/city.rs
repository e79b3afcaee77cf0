//! A row of buildings at one distance, with windows that are lit when it is dark.

use super::canvas::{Frame, Layer, Rgb, Row, coverage, smoothstep};
use super::noise::{Noise, Random};

struct Building {
    left: f32,
    right: f32,
    top: f32,
    /// How much narrower the upper part is on each side, and where it begins.
    setback: (f32, f32),
    antenna: f32,
    shade: f32,
    seed: i32,
}

/// How a skyline looks at its distance.
#[derive(Clone, Copy)]
pub struct Facade {
    pub wall: Rgb,
    pub foot: Rgb,
    pub lit: Rgb,
    /// The share of windows that are lit.
    pub lit_share: f32,
    /// The height of a storey; 0 leaves the walls blank.
    pub storey: f32,
}

/// Buildings side by side, from a base line up.
pub struct Skyline {
    buildings: Vec<Building>,
    base: f32,
    facade: Facade,
    noise: Noise,
    light_from: f32,
}

impl Skyline {
    /// Buildings of up to `height` over the width of the picture, tallest around its middle.
    pub fn new(random: &mut Random, frame: Frame, base: f32, height: f32, facade: Facade, light_from: f32) -> Self {
        let unit = frame.unit();
        let center = frame.aspect() * random.between(0.35, 0.65);
        let mut buildings = Vec::new();
        let mut left = -0.05 * unit;
        while left < frame.aspect() {
            let width = unit * random.between(0.045, 0.105);
            let downtown = 1.0 / (1.0 + ((left - center) / (0.34 * unit)).powi(2));
            let rise = height * (0.24 + 0.34 * random.unit() + 0.62 * downtown * random.between(0.35, 1.0));
            let tower = rise > height * 0.75;
            buildings.push(Building {
                left,
                right: left + width,
                top: base - rise,
                setback: if random.chance(0.55) {
                    (width * random.between(0.1, 0.26), base - rise * random.between(0.7, 0.9))
                } else {
                    (0.0, base - rise)
                },
                antenna: if tower && random.chance(0.6) { rise * random.between(0.1, 0.24) } else { 0.0 },
                shade: random.unit(),
                seed: random.between(0.0, 90_000.0) as i32,
            });
            left += width + if random.chance(0.25) { unit * random.between(0.0, 0.03) } else { 0.0 };
        }
        Self { buildings, base, facade, noise: random.noise(), light_from }
    }

    /// The color of the window at a point of a wall, and how much of the wall it is.
    fn window(&self, building: &Building, [x, y]: [f32; 2], [left, right]: [f32; 2], pixel: f32) -> Option<(Rgb, f32)> {
        let storey = self.facade.storey;
        let inner = right - left - storey * 0.5;
        let columns = (inner / (storey * 0.85)).floor();
        let across = (x - left - storey * 0.25) / inner * columns;
        let up = (self.base - y) / storey;
        let floor_top = self.base - ((up as i32) as f32 + 1.0) * storey;
        let roof = floor_top - if left > building.left { building.top } else { building.setback.1.max(building.top) };
        if columns < 1.0 || !(0.0..columns).contains(&across) || roof < 0.0 {
            return None;
        }
        let (column, floor) = (across as i32, up as i32);
        let soft = pixel / storey * 0.8;
        let pane = |offset: f32, half: f32| smoothstep(half + soft, half - soft, (offset - 0.5).abs());
        let share = pane(across - column as f32, 0.3) * pane(up - floor as f32, 0.27);
        let warmth = self.noise.cell(floor, building.seed.wrapping_sub(column));
        if self.noise.cell(building.seed.wrapping_add(column), floor) < self.facade.lit_share {
            let lit = self.facade.lit.mix(Rgb::hex(0xcfe4ff), smoothstep(0.72, 0.95, warmth));
            Some((lit, share * (0.55 + 0.45 * warmth)))
        } else {
            Some((self.facade.wall.mix(Rgb::hex(0x16203a), 0.4), share * 0.45))
        }
    }
}

impl Layer for Skyline {
    fn paint(&self, row: &mut Row) {
        let (y, pixel) = (row.y, row.pixel);
        if y > self.base + pixel {
            return;
        }
        let under = coverage(y - self.base, pixel);
        for building in &self.buildings {
            let middle = f32::midpoint(building.left, building.right);
            if building.antenna > 0.0 && y < building.top && y > building.top - building.antenna {
                let half = pixel * 0.5 + building.antenna * 0.014 * (y - building.top + building.antenna) / building.antenna;
                for (x, color) in row.span(middle - half, middle + half) {
                    *color = color.mix(self.facade.wall, coverage((x - middle).abs() - half, pixel));
                }
            }
            let below_top = coverage(building.top - y, pixel);
            if below_top <= 0.0 {
                continue;
            }
            let inset = building.setback.0 * coverage(y - building.setback.1, pixel);
            let (left, right) = (building.left + inset, building.right - inset);
            let fall = ((y - building.top) / (self.base - building.top).max(pixel)).clamp(0.0, 1.0);
            let wall = self.facade.wall.mix(Rgb::BLACK, building.shade * 0.16).mix(self.facade.foot, fall * 0.75);
            for (x, color) in row.span(left, right) {
                let inside = coverage(left - x, pixel) * coverage(x - right, pixel) * below_top * under;
                let side = (x - middle) / (right - left) * self.light_from;
                let mut tone = wall.mix(if side > 0.0 { Rgb::WHITE } else { Rgb::BLACK }, side.abs() * 0.14);
                if self.facade.storey > 0.0
                    && let Some((pane, share)) = self.window(building, [x, y], [left, right], pixel)
                {
                    tone = tone.mix(pane, share);
                }
                *color = color.mix(tone, inside);
            }
        }
    }
}
