//! What is near: the ground, trees that frame the picture, flowers, a house, a boat, animals.

use super::super::animals;
use super::super::canvas::Rgb;
use super::super::flowers::{Flowerbed, Grass};
use super::super::land::{Crest, Ridge, Slope, Surface, dunes, hills};
use super::super::noise::Noise;
use super::super::objects;
use super::super::trees::{Conifer, Leafy};
use super::super::vocabulary::{Hour, Motif, Species};
use super::Stage;

impl Stage<'_> {
    pub(super) fn foreground(&mut self) {
        if self.theme.shows(Motif::Boat) {
            self.boat();
        }
        let wet = self.is_wet();
        let staged = !self.theme.animals.is_empty() || self.theme.shows_any(&[Motif::House, Motif::Flowers, Motif::Beach, Motif::Hills]);
        if !wet {
            self.middle_hills();
        }
        if !wet || staged {
            self.near_ground(if wet { 0.9 } else { 0.84 });
        }
        if self.theme.shows(Motif::Forest) && !self.theme.shows(Motif::Autumn) {
            self.framing_trees();
        }
        self.animals();
    }

    fn boat(&mut self) {
        let (aspect, unit, light) = (self.frame.aspect(), self.frame.unit(), self.key_light());
        let sail = self.theme.color_of(Motif::Boat);
        let x = aspect * 0.5 - 0.17 * self.light_from * unit;
        let at = [x, self.horizon + 0.085, 0.22 * unit];
        self.add(objects::boat(at, -self.light_from, sail, light));
    }

    /// What the ground is made of, and how its surface looks.
    fn soil(&self) -> (Rgb, Surface) {
        if self.theme.shows(Motif::Snow) {
            (self.palette.snow, Surface::Drift)
        } else if self.theme.shows_any(&[Motif::Desert, Motif::Beach]) {
            (self.palette.sand, Surface::Drift)
        } else if self.theme.shows(Motif::Space) {
            (self.palette.rock.mix(Rgb::hex(0x3a2c58), 0.5), Surface::Drift)
        } else {
            (self.palette.foliage.mix(Rgb::hex(0x9fb24e), 0.35), Surface::Grass)
        }
    }

    fn profile(&self, noise: Noise, base: f32, height: f32) -> Box<dyn Fn(f32) -> Crest> {
        if self.theme.shows(Motif::Desert) { Box::new(dunes(noise, base, height)) } else { Box::new(hills(noise, base, height)) }
    }

    fn middle_hills(&mut self) {
        let (color, surface) = self.soil();
        for (distance, drop, trees) in [(0.36, 0.09, (0.16, 34.0)), (0.16, 0.19, (0.24, 16.0))] {
            let noise = self.random.noise();
            let slope =
                Slope { crest: self.faded(color, distance), foot: self.faded(color.mix(Rgb::hex(0x2c4a3a), 0.2), distance + 0.1), fall: 0.18 };
            let profile = self.profile(noise, self.horizon + drop, 0.1);
            let ridge = Ridge::new(self.frame, noise, slope, surface, self.light_from, profile);
            if self.theme.shows(Motif::Forest) {
                let grove = self.grove(distance, trees.0, trees.1, &|x| ridge.top(x) + 0.01);
                self.add(ridge);
                self.add(grove);
            } else {
                self.add(ridge);
            }
        }
    }

    fn near_ground(&mut self, base: f32) {
        let (color, surface) = self.soil();
        let noise = self.random.noise();
        let slope = Slope { crest: self.faded(color, 0.03), foot: self.faded(color.mix(Rgb::hex(0x1c2a38), 0.38), 0.0), fall: 0.22 };
        let profile = self.profile(noise, base, 0.09);
        let ridge = Ridge::new(self.frame, noise, slope, surface, self.light_from, profile);
        let tops: Vec<f32> = (0..=64_u8).map(|at| ridge.top(f32::from(at) / 64.0 * self.frame.aspect())).collect();
        let aspect = self.frame.aspect();
        let ground = move |x: f32| tops.get((x / aspect * 64.0).max(0.0) as usize).copied().unwrap_or(base);
        self.add(ridge);
        self.landmarks(&ground);
        if matches!(surface, Surface::Grass) {
            let blades = self.faded(color.mix(Rgb::BLACK, 0.12), 0.0);
            let grass = Grass::new(&mut self.random, self.frame, blades, &ground);
            self.add(grass);
        }
        if self.theme.shows(Motif::Flowers) {
            self.flowers(&ground);
        }
    }

    /// What marks the place: a house, and the trees or cacti that belong to the ground.
    fn landmarks(&mut self, ground: &dyn Fn(f32) -> f32) {
        let theme = self.theme;
        if theme.shows(Motif::House) {
            self.house(ground);
        }
        if theme.shows(Motif::Beach) {
            self.palms(ground);
        } else if theme.shows(Motif::Desert) {
            self.cacti(ground);
        } else if theme.shows(Motif::Autumn) {
            self.leafy_trees(ground, &[(0.22, 0.26), (-0.27, 0.3), (0.37, 0.42), (-0.45, 0.5)]);
        } else if !theme.shows_any(&[Motif::Forest, Motif::Snow, Motif::Space, Motif::City]) {
            self.leafy_trees(ground, &[(0.36, 0.36)]);
        }
    }

    /// An x so far from the middle, on the side the light does not come from.
    fn beside(&self, off: f32) -> f32 {
        let aspect = self.frame.aspect();
        aspect * 0.5 - off * aspect.min(1.4) * self.light_from
    }

    fn house(&mut self, ground: &dyn Fn(f32) -> f32) {
        let (unit, light) = (self.frame.unit(), self.key_light());
        let x = self.frame.aspect() * 0.5 - 0.2 * unit * self.light_from;
        let lit = matches!(self.theme.hour, Hour::Sunset | Hour::Dusk | Hour::Night);
        let snow = self.theme.shows(Motif::Snow).then_some(self.palette.snow);
        let at = [x, ground(x) + 0.025, 0.2 * unit];
        self.add(objects::house(at, self.light_from, self.theme.color_of(Motif::House), light, lit, snow));
    }

    fn palms(&mut self, ground: &dyn Fn(f32) -> f32) {
        for (off, size) in [(0.33, 0.62), (0.43, 0.48)] {
            let x = self.beside(off);
            self.add(objects::palm([x, ground(x) + 0.04, size * self.frame.unit()], self.light_from, self.key_light()));
        }
    }

    fn cacti(&mut self, ground: &dyn Fn(f32) -> f32) {
        for (off, size, drop) in [(-0.3, 0.13, 0.012), (0.36, 0.2, 0.042), (-0.42, 0.27, 0.072)] {
            let x = self.beside(off);
            self.add(objects::cactus([x, ground(x) + drop, size * self.frame.unit()], -self.light_from, self.key_light()));
        }
    }

    fn leafy_trees(&mut self, ground: &dyn Fn(f32) -> f32, places: &[(f32, f32)]) {
        let bark = Rgb::hex(0x5a4232).under(self.palette.light);
        for (off, size) in places {
            let hue = if self.theme.shows(Motif::Autumn) { self.random.pick([0xd8762a, 0xc9482c, 0xe2a434, 0xb8562a]) } else { 0x86a83c };
            let share = if self.theme.shows(Motif::Autumn) { 0.85 } else { 0.3 };
            let leaves = self.palette.foliage.mix(Rgb::hex(hue), share).under(self.palette.light);
            let x = self.beside(*off);
            let at = [x, ground(x) + 0.02 + 0.08 * (size - 0.26).max(0.0), size * self.frame.unit()];
            let tree = Leafy::new(&mut self.random, at, [leaves, bark], self.light_from);
            self.add(tree);
        }
    }

    fn flowers(&mut self, ground: &dyn Fn(f32) -> f32) {
        let mixed = [
            [0xe8485a, 0xf7b538, 0xf4f0e8, 0xd65db1],
            [0xb07be0, 0x7a5fd0, 0xf2a7d8, 0xf4f0e8],
            [0xf25c54, 0xf4845f, 0xf7b267, 0xfff3c4],
            [0x5b8def, 0xf4f0e8, 0xf7c948, 0xef6f9a],
        ];
        let colors = self
            .theme
            .color_of(Motif::Flowers)
            .map_or_else(|| self.random.pick(mixed).map(Rgb::hex), |color| [color, color, color.mix(Rgb::WHITE, 0.3), color.mix(Rgb::BLACK, 0.15)]);
        let stem = self.faded(self.palette.foliage, 0.0);
        let light = self.key_light();
        let bed = Flowerbed::new(&mut self.random, self.frame, colors, [stem, light], ground);
        self.add(bed);
    }

    /// Large conifers at both edges, leaving the middle free.
    fn framing_trees(&mut self) {
        let (aspect, unit) = (self.frame.aspect(), self.frame.unit());
        let mut grove = self.grove(0.0, 0.5, 0.0, &|_| 1.0);
        for (side, foot, height) in [(0.02, 1.06, 0.68), (0.11, 1.09, 0.56), (0.2, 1.12, 0.42), (0.985, 1.06, 0.62), (0.89, 1.1, 0.49)] {
            let x = aspect * side + unit * self.random.between(-0.025, 0.025);
            grove.trees.push(Conifer { tiers: 13.0, x, foot, height: height * unit.max(0.5) * self.random.between(0.9, 1.1) });
        }
        grove.trees.sort_by(|one, other| one.foot.total_cmp(&other.foot));
        self.add(grove);
    }

    fn animals(&mut self) {
        let (aspect, unit, light) = (self.frame.aspect(), self.frame.unit(), self.key_light());
        let animals = self.theme.animals.clone();
        let spacing = 0.3 * unit;
        let middle = (animals.len() as f32 - 1.0) / 2.0;
        let scale = if animals.len() > 2 { 0.3 } else { 0.37 };
        for (place, (species, coat)) in animals.into_iter().enumerate() {
            let off = place as f32 - middle;
            let size = scale * unit * if matches!(species, Species::Mouse) { 0.72 } else { 1.0 } * self.random.between(0.94, 1.05);
            let x = aspect * 0.5 + off * spacing + 0.03 * unit * self.light_from;
            let y = 0.945 - 0.012 * off.abs();
            let facing = if self.random.chance(0.5) { 1.0 } else { -1.0 };
            self.add(animals::draw(species, coat, [x, y, size], facing, light));
        }
    }
}
