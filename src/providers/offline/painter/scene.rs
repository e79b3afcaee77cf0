//! Composes a theme into layers, back to front: sky, distance, water, foreground, weather.
//!
//! It decides what stands where; how a thing looks is decided where the thing is drawn.

mod distance;
mod foreground;

use super::canvas::{Frame, Layer, Rgb};
use super::night::{Aurora, Nebula, Stars};
use super::noise::Random;
use super::palette::Palette;
use super::ribbon;
use super::sky::{Clouds, Disc, Face, Rainbow, Sky};
use super::theme::Theme;
use super::vocabulary::{Hour, Motif};
use super::water::Water;
use super::weather::{Fireflies, Fog, Rain, Snowfall};

/// The layers of the picture of `theme`, the first at the back.
pub fn compose(theme: &Theme, frame: Frame) -> Vec<Box<dyn Layer>> {
    let mut stage = Stage::new(theme, frame);
    stage.sky();
    if theme.shows(Motif::Abstract) {
        stage.ribbons();
    } else {
        stage.distance();
        stage.water();
        stage.flying();
        stage.foreground();
    }
    stage.weather();
    stage.layers
}

/// What the parts of a composition agree on.
struct Stage<'a> {
    theme: &'a Theme,
    frame: Frame,
    palette: Palette,
    random: Random,
    horizon: f32,
    sun: (f32, f32),
    /// -1 when the light comes from the left, 1 when from the right.
    light_from: f32,
    layers: Vec<Box<dyn Layer>>,
}

impl<'a> Stage<'a> {
    fn new(theme: &'a Theme, frame: Frame) -> Self {
        let mut random = Random::new(theme.seed);
        let horizon = if theme.shows(Motif::Space) { 0.78 } else { random.between(0.56, 0.63) };
        let left = random.chance(0.5);
        let side = if left { random.between(0.2, 0.4) } else { random.between(0.6, 0.8) };
        let above = match theme.hour {
            Hour::Dawn => random.between(0.1, 0.16),
            Hour::Day => random.between(0.38, 0.44),
            Hour::Sunset => random.between(0.05, 0.1),
            Hour::Dusk => random.between(0.02, 0.07),
            Hour::Night => random.between(0.36, 0.44),
        };
        Self {
            theme,
            frame,
            palette: Palette::of(theme),
            random,
            horizon,
            sun: (side * frame.aspect(), horizon - above),
            light_from: if left { -1.0 } else { 1.0 },
            layers: Vec::new(),
        }
    }

    fn add(&mut self, layer: impl Layer + 'static) {
        self.layers.push(Box::new(layer));
    }

    /// A surface's color in this light, seen through the haze of its distance.
    fn faded(&self, color: Rgb, distance: f32) -> Rgb {
        color.under(self.palette.light).mix(self.palette.haze, distance)
    }

    /// The light on what the eye should find: never as dark as the land around.
    fn key_light(&self) -> Rgb {
        self.palette.light.mix(Rgb::WHITE, 0.55)
    }

    /// How many times wider than a square the picture is, for things that repeat.
    fn breadth(&self) -> f32 {
        (self.frame.aspect() / self.frame.unit()).min(10.0)
    }

    fn is_wet(&self) -> bool {
        self.theme.shows_any(&[Motif::Sea, Motif::Lake, Motif::Beach, Motif::City, Motif::Boat])
            && !self.theme.shows_any(&[Motif::Desert, Motif::Space])
    }

    fn sky(&mut self) {
        let Self { theme, frame, palette, horizon, sun, .. } = *self;
        let dull = theme.shows(Motif::Rain);
        let glow = match theme.hour {
            Hour::Sunset => 1.0,
            Hour::Dawn => 0.85,
            Hour::Dusk => 0.9,
            Hour::Day => 0.5,
            Hour::Night => 0.32,
        };
        self.add(Sky::new(palette, horizon, sun, if dull { glow * 0.4 } else { glow }));
        self.stars();
        if theme.shows(Motif::Aurora) {
            let noise = self.random.noise();
            self.add(Aurora::new(noise, frame, horizon));
        }
        if !dull || theme.shows_any(&[Motif::Moon, Motif::Sun]) {
            self.disc();
        }
        if theme.shows(Motif::Rainbow) {
            let x = frame.aspect() - sun.0;
            self.add(Rainbow { x, y: horizon + 0.1, radius: 0.62 * frame.unit() });
        }
        self.clouds();
    }

    fn stars(&mut self) {
        let Self { theme, frame, horizon, .. } = *self;
        let space = theme.shows(Motif::Space);
        let mut density = match theme.hour {
            Hour::Night => 1.0,
            Hour::Dusk => 0.35,
            _ => 0.0,
        };
        if theme.shows(Motif::Rain) {
            density *= 0.15;
        }
        if theme.shows_any(&[Motif::Stars, Motif::Space]) {
            density += 1.2;
        }
        if space || (theme.shows(Motif::Stars) && theme.hour == Hour::Night) {
            let hues = self.random.pick([
                [0x7a3fb0, 0x2f6bc8, 0xffb0d0],
                [0xb03a78, 0x3f4fc0, 0xffd0a0],
                [0x2f8f9a, 0x5a3fb8, 0xbfe8ff],
                [0xa04a3a, 0x5a3aa8, 0xffe0b0],
            ]);
            let slope = self.random.between(-0.7, 0.7);
            let (noise, strength) = (self.random.noise(), if space { 1.0 } else { 0.5 });
            self.add(Nebula { noise, colors: hues.map(Rgb::hex), strength, slope, horizon: horizon * 1.1 });
        }
        let stars = Stars::new(&mut self.random, frame, horizon, density);
        self.add(stars);
    }

    fn disc(&mut self) {
        let Self { theme, frame, palette, sun, .. } = *self;
        let space = theme.shows(Motif::Space);
        let radius = match theme.hour {
            _ if space => self.random.between(0.11, 0.15),
            Hour::Sunset | Hour::Dusk => 0.072,
            Hour::Dawn => 0.058,
            Hour::Day => 0.046,
            Hour::Night => self.random.between(0.055, 0.07),
        };
        let planet = Rgb::hex(self.random.pick([0xd98a5a, 0x7fa8d8, 0xc9a0d8, 0xe0c080]));
        let noise = self.random.noise();
        let crescent = self.random.chance(0.3);
        let face = match theme.hour {
            _ if space => Face::Planet { clouds: noise },
            Hour::Night => Face::Moon { seas: noise, crescent },
            _ => Face::Sun,
        };
        let color = if space { planet } else { palette.disc };
        self.add(Disc { x: sun.0, y: sun.1, radius: radius * frame.unit(), color, face });
    }

    fn clouds(&mut self) {
        let Self { theme, palette, horizon, sun, .. } = *self;
        let cover = if theme.shows(Motif::Rain) {
            0.95
        } else if theme.shows(Motif::Clouds) {
            0.75
        } else if theme.shows_any(&[Motif::Space, Motif::Aurora, Motif::Stars, Motif::Abstract]) {
            0.0
        } else if theme.hour == Hour::Night {
            self.random.between(0.1, 0.3)
        } else {
            self.random.between(0.3, 0.55)
        };
        if cover > 0.0 {
            let noise = self.random.noise();
            self.add(Clouds { noise, palette, horizon, sun, cover });
        }
    }

    fn water(&mut self) {
        if !self.is_wet() {
            return;
        }
        let Self { theme, palette, horizon, sun, .. } = *self;
        let open = theme.shows_any(&[Motif::Sea, Motif::Beach]);
        let shine = if theme.shows(Motif::Rain) { 0.15 } else { 0.75 };
        let above = std::mem::take(&mut self.layers);
        let noise = self.random.noise();
        self.add(Water {
            above,
            line: horizon,
            color: palette.water.under(palette.light.mix(Rgb::WHITE, 0.25)),
            glitter: (sun.0, palette.glow.mix(palette.disc, 0.5), shine),
            roughness: if open { 0.85 } else { 0.35 },
            noise,
        });
    }

    fn ribbons(&mut self) {
        for ribbon in ribbon::cascade(&mut self.random, self.theme.main_color()) {
            self.add(ribbon);
        }
    }

    fn weather(&mut self) {
        let Self { theme, frame, palette, horizon, .. } = *self;
        if theme.shows(Motif::Fog) {
            for (y, height) in [(horizon - 0.02, 0.16), (horizon + 0.18, 0.14)] {
                let noise = self.random.noise();
                self.add(Fog { noise, y, height, color: palette.haze.mix(palette.horizon, 0.5), opacity: 0.8 });
            }
        }
        if theme.shows(Motif::Rain) {
            let noise = self.random.noise();
            self.add(Fog { noise, y: horizon, height: 0.2, color: palette.haze, opacity: 0.4 });
            let rain = Rain::new(&mut self.random, frame, palette.horizon.mix(Rgb::WHITE, 0.5));
            self.add(rain);
        }
        if theme.shows(Motif::Snow) {
            let snow = Snowfall::new(&mut self.random, frame);
            self.add(snow);
        }
        if theme.shows(Motif::Fireflies) {
            let fireflies = Fireflies::new(&mut self.random, frame);
            self.add(fireflies);
        }
    }
}
