//! What layers paint on: colors, one row of pixels at a time, and soft edges.
//!
//! A picture's height is 1 and its width is its aspect, so a scene looks the same in every size. Colors
//! are sRGB-encoded; mixing them as they are is what the palettes were chosen for.

use std::ops::Range;

/// A color; each channel is 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rgb {
    pub r: f32,
    pub g: f32,
    pub b: f32,
}

impl Rgb {
    pub const BLACK: Self = Self::hex(0x000000);
    pub const WHITE: Self = Self::hex(0xffffff);

    /// The color written as `0xrrggbb`.
    pub const fn hex(code: u32) -> Self {
        let [_, r, g, b] = code.to_be_bytes();
        Self { r: r as f32 / 255.0, g: g as f32 / 255.0, b: b as f32 / 255.0 }
    }

    /// `other` by the share `t`, the rest of it `self`.
    pub fn mix(self, other: Self, t: f32) -> Self {
        Self { r: self.r + (other.r - self.r) * t, g: self.g + (other.g - self.g) * t, b: self.b + (other.b - self.b) * t }
    }

    /// The color of a surface of this color under `light`.
    pub fn under(self, light: Self) -> Self {
        Self { r: self.r * light.r, g: self.g * light.g, b: self.b * light.b }
    }

    /// Light of color `other` added the way film does it: brighter, but never beyond white.
    pub fn plus(self, other: Self, amount: f32) -> Self {
        let screen = |under: f32, over: f32| under + over * amount.min(1.0) * (1.0 - under).max(0.0);
        Self { r: screen(self.r, other.r), g: screen(self.g, other.g), b: screen(self.b, other.b) }
    }

    /// How bright it looks, 0 to 1.
    pub fn luma(self) -> f32 {
        self.r * 0.3 + self.g * 0.59 + self.b * 0.11
    }

    /// Three bytes; `dither` is 0 to 1 and decides between the two nearest levels.
    pub fn bytes(self, dither: f32) -> [u8; 3] {
        // The cast saturates, so white with dither stays white.
        [self.r, self.g, self.b].map(|channel| (channel * 255.0 + dither) as u8)
    }
}

/// The measures of a picture.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub width: u16,
    pub height: u16,
}

impl Frame {
    /// The width when the height is 1.
    pub fn aspect(self) -> f32 {
        f32::from(self.width) / f32::from(self.height)
    }

    /// The side of a pixel.
    pub fn pixel(self) -> f32 {
        1.0 / f32::from(self.height)
    }

    /// The shorter side: what figures are measured in, so that they fit a tall picture too.
    pub fn unit(self) -> f32 {
        self.aspect().min(1.0)
    }
}

/// One row of pixels, from left to right.
pub struct Row {
    /// Where its middle is, 0 at the top of the picture and 1 at the bottom.
    pub y: f32,
    /// The side of a pixel.
    pub pixel: f32,
    pub colors: Vec<Rgb>,
}

impl Row {
    pub fn new(frame: Frame) -> Self {
        Self { y: 0.0, pixel: frame.pixel(), colors: vec![Rgb::BLACK; usize::from(frame.width)] }
    }

    pub fn width(&self) -> f32 {
        self.colors.len() as f32 * self.pixel
    }

    /// Every pixel with the x of its middle.
    pub fn pixels(&mut self) -> impl Iterator<Item = (f32, &mut Rgb)> {
        let pixel = self.pixel;
        self.colors.iter_mut().enumerate().map(move |(at, color)| ((at as f32 + 0.5) * pixel, color))
    }

    /// The pixels between two x, and one more on each side for the soft edge.
    pub fn span(&mut self, left: f32, right: f32) -> impl Iterator<Item = (f32, &mut Rgb)> {
        let columns = self.columns(left, right);
        let (first, pixel) = (columns.start, self.pixel);
        let span = self.colors.get_mut(columns).unwrap_or_default();
        span.iter_mut().enumerate().map(move |(at, color)| (((first + at) as f32 + 0.5) * pixel, color))
    }

    fn columns(&self, left: f32, right: f32) -> Range<usize> {
        let first = (left / self.pixel - 1.0).max(0.0) as usize;
        let end = ((right / self.pixel + 2.0).max(0.0) as usize).min(self.colors.len());
        first.min(end)..end
    }
}

/// Something that paints itself over what is there already.
pub trait Layer {
    fn paint(&self, row: &mut Row);

    /// From where on down it covers everything behind it; by default nowhere.
    fn covers_below(&self) -> f32 {
        f32::MAX
    }
}

/// Paints the layers that can be seen in this row, back to front.
pub fn paint_all(layers: &[Box<dyn Layer>], row: &mut Row) {
    let first = layers.iter().rposition(|layer| layer.covers_below() < row.y - row.pixel).unwrap_or(0);
    for layer in layers.iter().skip(first) {
        layer.paint(row);
    }
}

/// The length of a vector; `hypot` guards against overflow that cannot happen here and is far slower.
pub fn length(dx: f32, dy: f32) -> f32 {
    (dx * dx + dy * dy).sqrt()
}

/// 0 up to `from`, 1 after `to`, a soft step between.
pub fn smoothstep(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// How much of a pixel lies inside an edge that is `distance` away; negative is inside.
pub fn coverage(distance: f32, pixel: f32) -> f32 {
    (0.5 - distance / pixel).clamp(0.0, 1.0)
}

/// 1 in the middle, fading to 0 with the distance in radii; never quite reaching it.
pub fn glow(distance_squared: f32) -> f32 {
    let near = 1.0 / (1.0 + distance_squared);
    near * near
}
