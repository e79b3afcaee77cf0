//! Ridges: mountains, hills and dunes, each a profile over the whole width, filled down to the bottom.

use super::canvas::{Frame, Layer, Rgb, Row, coverage, smoothstep};
use super::noise::Noise;

/// What a ridge is made of.
#[derive(Clone, Copy, Debug)]
pub enum Surface {
    /// Meadows: a little mottled.
    Grass,
    /// Rock with a lit and a shaded face, and snow above the line.
    Rock { snow_line: f32, snow: Rgb },
    /// Sand or snow: smooth, with a light edge.
    Drift,
}

/// The colors of a ridge from its crest down.
#[derive(Clone, Copy, Debug)]
pub struct Slope {
    pub crest: Rgb,
    pub foot: Rgb,
    /// The height over which one turns into the other.
    pub fall: f32,
}

/// One point of a profile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crest {
    pub top: f32,
    /// How far right of its summit the point is.
    pub lean: f32,
}

impl Crest {
    /// A point that belongs to no summit.
    pub fn level(top: f32) -> Self {
        Self { top, lean: 0.0 }
    }
}

#[derive(Clone, Copy, Default)]
struct Column {
    crest: Crest,
    steepness: f32,
    /// From where on down a nearer ridge covers it.
    hidden: f32,
}

/// One ridge.
pub struct Ridge {
    columns: Vec<Column>,
    highest: f32,
    lowest: f32,
    pixel: f32,
    slope: Slope,
    surface: Surface,
    noise: Noise,
    /// -1 when the light comes from the left, 1 when from the right.
    light_from: f32,
}

impl Ridge {
    /// A ridge whose crest follows `profile(x)`.
    pub fn new(frame: Frame, noise: Noise, slope: Slope, surface: Surface, light_from: f32, profile: impl Fn(f32) -> Crest) -> Self {
        let pixel = frame.pixel();
        let columns: Vec<Column> = (0..frame.width)
            .map(|column| {
                let x = (f32::from(column) + 0.5) * pixel;
                let crest = profile(x);
                Column { crest, steepness: (profile(x + pixel).top - crest.top) / pixel, hidden: f32::MAX }
            })
            .collect();
        let tops = columns.iter().map(|column| column.crest.top);
        let (highest, lowest) = (tops.clone().fold(f32::MAX, f32::min), tops.fold(f32::MIN, f32::max));
        Self { columns, highest, lowest, pixel, slope, surface, noise, light_from }
    }

    /// Spares the work below the crest of `front`, which is painted later.
    pub fn stand_behind(&mut self, front: &Self) {
        for (column, nearer) in self.columns.iter_mut().zip(&front.columns) {
            column.hidden = nearer.crest.top + self.pixel * (1.0 + nearer.steepness.abs());
        }
    }

    /// Where the crest is at `x`.
    pub fn top(&self, x: f32) -> f32 {
        self.column(x).crest.top
    }

    fn column(&self, x: f32) -> Column {
        let column = (x / self.pixel).max(0.0) as usize;
        self.columns.get(column).or(self.columns.last()).copied().unwrap_or_default()
    }

    fn color(&self, x: f32, y: f32, column: &Column) -> Rgb {
        let depth = (y - column.crest.top).max(0.0);
        let Slope { crest, foot, fall } = self.slope;
        let t = (depth / fall).min(1.0);
        let base = crest.mix(foot, t);
        match self.surface {
            Surface::Grass => {
                let mottle = self.noise.fractal(x * 9.0, y * 34.0, 3) - 0.5;
                shaded(base, mottle * 0.3 * (1.0 - t * 0.5) + 0.1 * smoothstep(0.035, 0.0, depth))
            }
            Surface::Drift => {
                let wave = self.noise.fractal(x * 2.2, y * 9.0 + x, 3) - 0.5;
                let facing = (self.column(x + depth * 0.9 + wave * 0.06).steepness * self.light_from * 1.4).clamp(-1.0, 1.0);
                let lee = 0.16 * facing * smoothstep(0.13, 0.0, depth);
                shaded(base, lee + wave * 0.2 * (1.0 - t * 0.5) + 0.14 * smoothstep(0.03, 0.0, depth))
            }
            Surface::Rock { snow_line, snow } => self.rock(x, y, column, base, snow_line, snow),
        }
    }

    /// Each summit has a face towards the light and one away from it; they meet in a jagged line.
    fn rock(&self, x: f32, y: f32, column: &Column, base: Rgb, snow_line: f32, snow: Rgb) -> Rgb {
        let t = ((y - column.crest.top) / self.slope.fall).clamp(0.0, 1.0);
        let jag = self.noise.fractal(x * 9.0 + 3.0, y * 19.0, 3) - 0.5;
        let lean = self.column(x + jag * 0.1).crest.lean;
        let face = (lean * self.light_from * 60.0).clamp(-1.0, 1.0);
        let gully = self.noise.ridged(x * 13.0 + y * 6.0 * face.signum(), y * 5.0, 3) - 0.55;
        let light = (face * 0.22 + gully * 0.42) * (1.0 - 0.75 * t);
        let edge = snow_line + jag * 0.14 + gully * 0.05;
        let covered = smoothstep(edge + 0.006, edge - 0.006, y);
        let white = snow.mix(base, (0.4 - face * 0.36 - gully * 0.5).clamp(0.0, 0.85));
        shaded(base, light).mix(white, covered * 0.95)
    }
}

/// Lighter for a positive `light`, darker for a negative one.
fn shaded(color: Rgb, light: f32) -> Rgb {
    if light > 0.0 { color.mix(Rgb::WHITE, light * 0.55) } else { color.mix(Rgb::BLACK, -light) }
}

impl Layer for Ridge {
    fn paint(&self, row: &mut Row) {
        if row.y + row.pixel < self.highest {
            return;
        }
        let (y, pixel) = (row.y, row.pixel);
        for ((x, color), column) in row.pixels().zip(&self.columns) {
            let steepness = column.steepness;
            let inside = coverage((column.crest.top - y) / (1.0 + steepness * steepness).sqrt(), pixel);
            if inside > 0.0 && y < column.hidden {
                *color = color.mix(self.color(x, y, column), inside);
            }
        }
    }

    fn covers_below(&self) -> f32 {
        // On a steep slope the soft edge reaches a little below the crest.
        self.lowest + 4.0 * self.pixel
    }
}

/// The profile of a mountain range: summits side by side, the highest of them at each point, and jags.
pub fn mountains(noise: Noise, base: f32, height: f32, spacing: f32) -> impl Fn(f32) -> Crest {
    move |x| {
        let bent = x + (noise.fractal(x * 3.1, 9.5, 3) - 0.5) * spacing * 0.35;
        let cell = (bent / spacing).floor();
        let (mut rise, mut lean) = (0.1, 0.0);
        for step in [-2.0, -1.0, 0.0, 1.0, 2.0] {
            let index = cell + step;
            let summit = (index + 0.2 + 0.6 * noise.at(index, 31.0)) * spacing;
            let tall = 0.5 + 0.5 * noise.at(index, 47.0);
            let away = (bent - summit).abs() / spacing;
            let here = tall - away * (0.62 + 0.3 * noise.at(index, 63.0)) * (1.0 - 0.3 * away.min(1.0));
            if here > rise {
                (rise, lean) = (here, bent - summit);
            }
        }
        let jags = (noise.ridged(x * 11.0, 7.5, 4) - 0.5) * 0.2;
        Crest { top: base - height * (rise + jags * rise), lean }
    }
}

/// The profile of soft hills.
pub fn hills(noise: Noise, base: f32, height: f32) -> impl Fn(f32) -> Crest {
    move |x| Crest::level(base - height * (noise.fractal(x * 1.5, 2.5, 3) * 1.4 - 0.2))
}

/// The profile of dunes: long soft backs and sharp crests.
pub fn dunes(noise: Noise, base: f32, height: f32) -> impl Fn(f32) -> Crest {
    move |x| {
        let bend = noise.fractal(x * 0.8, 4.5, 2);
        let phase = (x * 0.9 + bend * 1.7).rem_euclid(1.0);
        let wave = if phase < 0.7 { smoothstep(0.0, 1.4, phase) * 2.0 } else { smoothstep(1.0, 0.4, phase) * 2.0 };
        Crest::level(base - height * (wave.min(1.0) * 0.7 + bend * 0.5))
    }
}
