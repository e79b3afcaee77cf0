//! What stands at the horizon: mountains, hills, skylines, woods, dunes, and what flies before them.

use super::super::canvas::{Layer, Rgb};
use super::super::city::{Facade, Skyline};
use super::super::land::{Crest, Ridge, Slope, Surface, dunes, hills, mountains};
use super::super::objects;
use super::super::trees::{Conifer, Grove};
use super::super::vocabulary::{Hour, Motif};
use super::super::weather::Fog;
use super::Stage;

impl Stage<'_> {
    pub(super) fn distance(&mut self) {
        let theme = self.theme;
        if theme.shows_any(&[Motif::Mountains, Motif::Space]) {
            self.mountains();
        } else if theme.shows(Motif::Desert) {
            self.far_dunes();
        } else if theme.shows_any(&[Motif::Sea, Motif::Beach]) && !theme.shows(Motif::City) {
            self.islands();
        } else if !theme.shows(Motif::City) {
            self.far_hills();
        }
        if theme.shows(Motif::City) {
            self.city();
        }
        if theme.shows(Motif::Forest) {
            self.far_woods();
        }
    }

    fn mountains(&mut self) {
        let low = self.theme.shows(Motif::Space);
        let snow = self.theme.shows(Motif::Snow);
        let bleak = if low { 9.0 } else { 0.0 };
        let cap = self.palette.snow.under(self.palette.light);
        let mut behind: Option<Ridge> = None;
        for (distance, height, spacing, bare) in [(0.6, 0.4, 0.6, 0.6), (0.4, 0.25, 0.42, 0.86), (0.18, 0.13, 0.3, 1.2)] {
            let height = if low { height * 0.5 } else { height };
            let noise = self.random.noise();
            let foot = self.faded(self.palette.rock, (distance + 0.22_f32).min(0.9));
            let slope = Slope { crest: self.faded(self.palette.rock, distance), foot, fall: height * 0.9 };
            let snow_line = if snow { self.horizon - 0.02 } else { self.horizon - height * (bare + bleak) };
            let cap = cap.mix(self.palette.haze, distance * 0.55);
            let surface = Surface::Rock { snow_line, snow: cap };
            let profile = mountains(noise, self.horizon + 0.012, height, spacing);
            let ridge = Ridge::new(self.frame, noise, slope, surface, self.light_from, profile);
            if let Some(mut farther) = behind.take() {
                farther.stand_behind(&ridge);
                self.add(farther);
            }
            behind = Some(ridge);
        }
        if let Some(nearest) = behind {
            self.add(nearest);
        }
    }

    fn far_hills(&mut self) {
        let snow = self.theme.shows(Motif::Snow);
        let (color, surface) = if snow { (self.palette.snow, Surface::Drift) } else { (self.palette.foliage, Surface::Grass) };
        for (distance, height, drop) in [(0.78, 0.17, 0.0), (0.56, 0.13, 0.02)] {
            let noise = self.random.noise();
            let slope = Slope { crest: self.faded(color, distance), foot: self.faded(color, (distance + 0.22).min(0.95)), fall: 0.16 };
            let profile = hills(noise, self.horizon + drop, height);
            let ridge = Ridge::new(self.frame, noise, slope, surface, self.light_from, profile);
            self.add(ridge);
        }
    }

    fn islands(&mut self) {
        let noise = self.random.noise();
        let color = self.palette.foliage.mix(self.palette.rock, 0.5);
        let slope = Slope { crest: self.faded(color, 0.6), foot: self.faded(color, 0.78), fall: 0.07 };
        let ridge = Ridge::new(self.frame, noise, slope, Surface::Grass, self.light_from, hills(noise, self.horizon + 0.055, 0.13));
        self.add(ridge);
    }

    fn far_dunes(&mut self) {
        for (distance, height, drop) in [(0.66, 0.09, 0.005), (0.46, 0.11, 0.06), (0.26, 0.13, 0.15)] {
            let noise = self.random.noise();
            let slope = Slope {
                crest: self.faded(self.palette.sand, distance),
                foot: self.faded(self.palette.sand.mix(Rgb::hex(0x9a5a34), 0.35), distance),
                fall: 0.2,
            };
            let ridge = Ridge::new(self.frame, noise, slope, Surface::Drift, self.light_from, dunes(noise, self.horizon + drop, height));
            self.add(ridge);
        }
    }

    fn city(&mut self) {
        let dark = matches!(self.theme.hour, Hour::Night | Hour::Dusk) || self.theme.shows(Motif::Rain);
        let lit_share = if dark {
            0.5
        } else if self.theme.hour == Hour::Sunset {
            0.3
        } else {
            0.06
        };
        let wall = self.theme.color_of(Motif::City).unwrap_or(Rgb::hex(0x4e5878));
        if dark {
            let noise = self.random.noise();
            let color = Rgb::hex(0xffa866).mix(self.palette.haze, 0.5);
            self.add(Fog { noise, y: self.horizon, height: 0.4, color, opacity: 0.4 });
        }
        for (distance, height, storey, share) in
            [(0.66, 0.42, 0.009, lit_share * 0.35), (0.42, 0.36, 0.011, lit_share * 0.7), (0.1, 0.27, 0.0145, lit_share)]
        {
            let facade = Facade {
                wall: self.faded(wall, distance),
                foot: self.faded(wall, (distance + 0.25).min(0.9)),
                lit: Rgb::hex(0xffcf78),
                lit_share: share,
                storey: storey * self.frame.unit(),
            };
            let skyline = Skyline::new(&mut self.random, self.frame, self.horizon, height * self.frame.unit(), facade, self.light_from);
            self.add(skyline);
        }
    }

    /// Rows of conifers on the far shore or at the foot of the hills.
    fn far_woods(&mut self) {
        let bank = self.random.noise();
        for (distance, height, drop, count) in [(0.62, 0.075, 0.004, 110.0), (0.4, 0.11, 0.022, 70.0)] {
            let base = self.horizon + if self.is_wet() { drop * 0.2 } else { drop * 2.0 };
            let shore = move |x: f32| base + 0.012 * (bank.fractal(x * 2.0, drop * 90.0, 2) - 0.5);
            let grove = self.grove(distance, height, count, &shore);
            if !self.is_wet() {
                let color = self.palette.foliage.mix(Rgb::BLACK, 0.15);
                let color = if self.theme.shows(Motif::Snow) { self.palette.snow } else { color };
                let slope = Slope { crest: self.faded(color, distance), foot: self.faded(color, (distance + 0.25).min(0.9)), fall: 0.12 };
                let ridge = Ridge::new(self.frame, bank, slope, Surface::Grass, self.light_from, |x| Crest::level(shore(x) - 0.006));
                self.add(ridge);
            }
            self.add(grove);
        }
    }

    /// Conifers of one distance whose feet stand at `ground(x)`.
    pub(super) fn grove(&mut self, distance: f32, height: f32, count: f32, ground: &dyn Fn(f32) -> f32) -> Grove {
        let aspect = self.frame.aspect();
        let height = height * self.frame.unit().max(0.5);
        let count = (count * self.breadth()) as usize;
        let gaps = self.random.noise();
        let mut trees: Vec<Conifer> = Vec::with_capacity(count);
        for _ in 0..count {
            let x = self.random.between(-0.03, aspect + 0.03);
            let thick = gaps.fractal(x * 2.6, 5.5, 2);
            let size = height * self.random.between(0.55, 1.0) * (0.45 + thick);
            let foot = ground(x.clamp(0.0, aspect)) + self.random.between(0.0, 0.012);
            let tiers = self.random.between(7.0, 10.0);
            trees.push(Conifer { tiers, x, foot, height: size });
        }
        trees.sort_by(|one, other| one.foot.total_cmp(&other.foot));
        let needles = self.palette.foliage.mix(Rgb::hex(0x123a34), if self.theme.shows(Motif::Autumn) { 0.1 } else { 0.55 });
        Grove {
            trees,
            color: self.faded(needles.mix(Rgb::BLACK, 0.3), distance),
            lit: self.faded(needles.mix(Rgb::hex(0xe8e0a0), 0.22), distance),
            bark: self.faded(Rgb::hex(0x4a3428), distance),
            snow: self.theme.shows(Motif::Snow).then(|| self.faded(self.palette.snow, distance * 0.6)),
            light_from: self.light_from,
            noise: self.random.noise(),
        }
    }

    pub(super) fn flying(&mut self) {
        let (aspect, unit) = (self.frame.aspect(), self.frame.unit());
        if self.theme.shows(Motif::Balloon) {
            let hues = [0xd8483e, 0x3f78c8, 0xe89a2e, 0x8a55b8];
            for (scale, height) in [(0.1, 0.36), (0.22, 0.38)] {
                let hue = self.random.pick(hues);
                let color = self.theme.color_of(Motif::Balloon).unwrap_or(Rgb::hex(hue));
                let x = aspect * if scale > 0.15 { 0.5 - 0.24 * self.light_from } else { 0.5 + 0.1 * self.light_from };
                let at = [x + unit * self.random.between(-0.04, 0.04), self.horizon - height + 0.14 * scale + 0.1, scale * unit];
                let light = self.key_light();
                self.add(objects::balloon(at, color, light));
            }
        }
        let lively = self.theme.shows(Motif::Sea) && self.theme.hour != Hour::Night && !self.theme.shows(Motif::Rain);
        if lively || self.theme.shows(Motif::Birds) {
            let color = self.faded(Rgb::hex(0x1e2336), 0.25);
            let at = [aspect * (0.5 - 0.16 * self.light_from), self.horizon * 0.42, 0.26 * unit];
            for bird in objects::birds(&mut self.random, at, color) {
                self.layers.push(Box::new(bird) as Box<dyn Layer>);
            }
        }
    }
}
