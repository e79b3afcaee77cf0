//! The colors of a picture: one set for each hour, bent by weather and by a color that was named.

use super::canvas::Rgb;
use super::theme::Theme;
use super::vocabulary::{Hour, Motif};

/// Every color that is not an object's own.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    /// The sky from the top down to the horizon.
    pub zenith: Rgb,
    pub middle: Rgb,
    pub horizon: Rgb,
    /// The light around the sun or moon.
    pub glow: Rgb,
    pub disc: Rgb,
    /// What falls on every surface.
    pub light: Rgb,
    /// What far surfaces fade into.
    pub haze: Rgb,
    pub cloud_bright: Rgb,
    pub cloud_dark: Rgb,
    pub foliage: Rgb,
    pub rock: Rgb,
    pub sand: Rgb,
    pub snow: Rgb,
    pub water: Rgb,
}

impl Palette {
    /// The colors that `theme` asks for.
    pub fn of(theme: &Theme) -> Self {
        let mut palette = match theme.hour {
            Hour::Dawn => Self::sky([0x6f9cd9, 0xe9b9c4, 0xffe6b8], [0xffd99a, 0xfff6df], [0xf6e2d8, 0xf2cdc4], [0xfff1e2, 0xc89fb6]),
            Hour::Day => Self::sky([0x2f7fd6, 0x74b8ee, 0xd8effa], [0xfff3c9, 0xfffff2], [0xffffff, 0xc3deee], [0xffffff, 0xb4c8dc]),
            Hour::Sunset => Self::sky([0x3a3f80, 0xd06174, 0xffc970], [0xffa64d, 0xfff0c4], [0xdaa292, 0xc4808a], [0xffc58e, 0x8a537b]),
            Hour::Dusk => Self::sky([0x232058, 0x7f418c, 0xf48f86], [0xff8a8a, 0xffe0cc], [0xa987b8, 0xb26a9a], [0xf39aa2, 0x4f3678]),
            Hour::Night => Self::sky([0x070b24, 0x162050, 0x4a63a0], [0x8fa9e8, 0xf6f2de], [0x7484c0, 0x3a4c86], [0x5d70ad, 0x1a2450]),
        };
        if theme.shows(Motif::Rain) {
            palette = palette.overcast(theme.hour);
        }
        palette.water = palette.zenith.mix(palette.middle, 0.45).mix(Rgb::hex(0x1d4e63), 0.35);
        palette.colored_by(theme)
    }

    fn sky([zenith, middle, horizon]: [u32; 3], [glow, disc]: [u32; 2], [light, haze]: [u32; 2], [cloud_bright, cloud_dark]: [u32; 2]) -> Self {
        Self {
            zenith: Rgb::hex(zenith),
            middle: Rgb::hex(middle),
            horizon: Rgb::hex(horizon),
            glow: Rgb::hex(glow),
            disc: Rgb::hex(disc),
            light: Rgb::hex(light),
            haze: Rgb::hex(haze),
            cloud_bright: Rgb::hex(cloud_bright),
            cloud_dark: Rgb::hex(cloud_dark),
            foliage: Rgb::hex(0x3f7a48),
            rock: Rgb::hex(0x6a7490),
            sand: Rgb::hex(0xe3b673),
            snow: Rgb::hex(0xf4f8ff),
            water: Rgb::BLACK,
        }
    }

    fn overcast(self, hour: Hour) -> Self {
        let dim = if hour == Hour::Night { 0.42 } else { 1.0 };
        let grey = |code, share: f32, own: Rgb| own.mix(Rgb::hex(code).mix(Rgb::BLACK, 1.0 - dim), share);
        Self {
            zenith: grey(0x3d4a60, 0.75, self.zenith),
            middle: grey(0x6d7d92, 0.75, self.middle),
            horizon: grey(0xaebac4, 0.65, self.horizon),
            glow: self.glow.mix(Rgb::BLACK, 0.5),
            light: grey(0xb4c0cc, 0.6, self.light),
            haze: grey(0x95a4b3, 0.7, self.haze),
            cloud_bright: grey(0xa7b3c0, 0.75, self.cloud_bright),
            cloud_dark: grey(0x3a4558, 0.75, self.cloud_dark),
            ..self
        }
    }

    fn colored_by(mut self, theme: &Theme) -> Self {
        let mood = if theme.shows(Motif::Abstract) { theme.main_color() } else { theme.tint };
        if let Some(tint) = mood {
            let toned = |color: Rgb, share| color.mix(shade(tint, color.luma()), share);
            self.zenith = toned(self.zenith, 0.7);
            self.middle = toned(self.middle, 0.7);
            self.horizon = toned(self.horizon, 0.5);
            self.haze = toned(self.haze, 0.6);
            self.glow = toned(self.glow, 0.5);
            self.cloud_bright = toned(self.cloud_bright, 0.5);
            self.cloud_dark = toned(self.cloud_dark, 0.6);
            self.water = toned(self.water, 0.6);
            self.foliage = toned(self.foliage, 0.4);
            self.rock = toned(self.rock, 0.5);
        }
        let named = |motifs: &[Motif], own: Rgb, share| {
            motifs.iter().find_map(|motif| theme.color_of(*motif)).map_or(own, |color| own.mix(shade(color, own.luma()), share))
        };
        self.foliage = named(&[Motif::Forest, Motif::Hills], self.foliage, 0.85);
        self.rock = named(&[Motif::Mountains], self.rock, 0.8);
        self.sand = named(&[Motif::Desert, Motif::Beach], self.sand, 0.7);
        self.water = named(&[Motif::Sea, Motif::Lake], self.water, 0.85);
        let disc = theme.color_of(Motif::Moon).or(theme.color_of(Motif::Sun));
        self.disc = disc.map_or(self.disc, |color| color.mix(Rgb::WHITE, 0.25));
        if theme.shows(Motif::Autumn) {
            self.foliage = Rgb::hex(0xd07a2a);
        }
        self
    }
}

/// `color` made about as bright as `luma`.
fn shade(color: Rgb, luma: f32) -> Rgb {
    let own = color.luma();
    if luma < own { color.mix(Rgb::BLACK, 1.0 - luma / own) } else { color.mix(Rgb::WHITE, (luma - own) / (1.001 - own)) }
}
