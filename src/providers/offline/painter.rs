//! Draws a picture from a prompt without an AI model, so that image generation works with no key.
//!
//! The prompt is read for words it knows (places, weather, times of day, animals, colors); everything
//! else seeds the composition. The same prompt in the same size is always the same picture. Rows are
//! shaded one at a time and go straight into the encoder, so a picture costs its PNG and a few rows.
//! It does not imitate photographs, writes no text, and draws nothing outside [`SIDES`].

#![allow(clippy::unreadable_literal, reason = "colors are written as everywhere else: 0xrrggbb")]

mod animals;
mod canvas;
mod city;
mod figure;
mod flowers;
mod land;
mod night;
mod noise;
mod objects;
mod palette;
mod ribbon;
mod scene;
mod sky;
mod theme;
mod trees;
mod vocabulary;
mod water;
mod weather;

use std::io::Write;
use std::ops::{ControlFlow, RangeInclusive};

use canvas::{Frame, Layer, Rgb, Row};
use theme::Theme;

/// How long each side of a picture may be, in pixels.
pub const SIDES: RangeInclusive<u32> = 64..=2_048;

/// Progress is told in steps of at least so many percent.
const STEP: u8 = 3;

/// The PNG of `prompt` in RGB, `width` by `height` pixels.
///
/// `on_progress` hears 0 first, then how much is drawn and encoded, and 100 once the PNG is complete.
/// None when it breaks off, or when a side is outside [`SIDES`].
pub fn paint(prompt: &str, width: u32, height: u32, on_progress: &mut dyn FnMut(u8) -> ControlFlow<()>) -> Option<Vec<u8>> {
    if !SIDES.contains(&width) || !SIDES.contains(&height) {
        return None;
    }
    let frame = Frame { width: u16::try_from(width).ok()?, height: u16::try_from(height).ok()? };
    go_on(on_progress(0))?;
    let layers = scene::compose(&Theme::read(prompt), frame);
    let picture = encode(&layers, frame, on_progress)?;
    go_on(on_progress(100))?;
    Some(picture)
}

fn go_on(flow: ControlFlow<()>) -> Option<()> {
    flow.is_continue().then_some(())
}

fn encode(layers: &[Box<dyn Layer>], frame: Frame, on_progress: &mut dyn FnMut(u8) -> ControlFlow<()>) -> Option<Vec<u8>> {
    let mut picture = Vec::new();
    let mut encoder = png::Encoder::new(&mut picture, u32::from(frame.width), u32::from(frame.height));
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
    encoder.set_compression(png::Compression::Fast);
    // Writing to memory cannot fail, so an error here has nothing to tell.
    let mut writer = encoder.write_header().ok()?;
    let mut stream = writer.stream_writer().ok()?;
    let mut row = Row::new(frame);
    let mut bytes = vec![0; usize::from(frame.width) * 3];
    let mut told = 0;
    for line in 0..frame.height {
        row.y = (f32::from(line) + 0.5) * row.pixel;
        canvas::paint_all(layers, &mut row);
        develop(&row, line, &mut bytes);
        stream.write_all(&bytes).ok()?;
        let percent = u8::try_from(u32::from(line + 1) * 99 / u32::from(frame.height)).unwrap_or(99);
        if percent >= told + STEP {
            told = percent;
            go_on(on_progress(percent))?;
        }
    }
    stream.finish().ok()?;
    writer.finish().ok()?;
    Some(picture)
}

/// Darkens the corners a little and rounds to bytes, with dither against banding.
fn develop(row: &Row, line: u16, bytes: &mut [u8]) {
    let half = row.width() / 2.0;
    let down = (row.y - 0.5) * 2.0;
    for ((column, color), target) in row.colors.iter().enumerate().zip(bytes.chunks_exact_mut(3)) {
        let across = (column as f32 + 0.5) * row.pixel / half - 1.0;
        let corner = (across * across + down * down) * 0.5;
        let dark = color.mix(Rgb::BLACK, 0.2 * corner * corner);
        target.copy_from_slice(&dark.bytes(dither(column, line)));
    }
}

/// Interleaved gradient noise (Jimenez 2014): even like a pattern, and invisible like noise.
fn dither(column: usize, line: u16) -> f32 {
    let fraction = |value: f32| value - (value as i32) as f32;
    fraction(52.982_918 * fraction(0.067_110_56 * column as f32 + 0.005_837_15 * f32::from(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPTS: [&str; 12] = [
        "",
        "a red fox in the snow at night",
        "sunset over the sea with a boat",
        "city skyline in the rain",
        "a green forest with mountains",
        "three black cats and a blue house, flowers, rainbow",
        "abstract purple waves",
        "galaxy",
        "desert dunes",
        "aurora over a lake, fog, fireflies",
        "balloon and birds over the beach",
        "owl, penguin, deer",
    ];

    fn painted(prompt: &str, width: u32, height: u32) -> Option<Vec<u8>> {
        paint(prompt, width, height, &mut |_| ControlFlow::Continue(()))
    }

    fn pixels(picture: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(picture)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
        (info.width, info.height, pixels)
    }

    #[test]
    fn no_pixel_is_ever_undefined() {
        for prompt in PROMPTS {
            for (width, height) in [(64, 64), (64, 256), (256, 64)] {
                let frame = Frame { width, height };
                let layers = scene::compose(&Theme::read(prompt), frame);
                let mut row = Row::new(frame);
                for line in 0..height {
                    row.y = (f32::from(line) + 0.5) * row.pixel;
                    canvas::paint_all(&layers, &mut row);
                    let defined = |color: &Rgb| [color.r, color.g, color.b].iter().all(|channel| (-0.01..=1.01).contains(channel));
                    assert!(row.colors.iter().all(defined), "{prompt} {width}x{height} line {line}");
                }
            }
        }
    }

    #[test]
    fn the_same_prompt_paints_the_same_picture() {
        assert_eq!(painted("a lake", 96, 64), painted("a lake", 96, 64));
        assert_ne!(painted("a lake", 96, 64), painted("a lake!?", 96, 64));
    }

    #[test]
    fn every_prompt_paints_a_whole_picture_of_its_size() {
        for prompt in PROMPTS {
            for (width, height) in [(64, 64), (64, 128), (128, 64)] {
                let (wide, high, pixels) = pixels(&painted(prompt, width, height).unwrap());
                assert_eq!((wide, high), (width, height), "{prompt}");
                let (low, high) = pixels.iter().fold((255, 0), |(low, high), byte| (byte.min(&low).to_owned(), byte.max(&high).to_owned()));
                assert!(high - low > 60, "{prompt} is flat");
            }
        }
    }

    #[test]
    fn extreme_shapes_are_painted_too() {
        for (width, height) in [(64, 2_048), (2_048, 64), (64, 64)] {
            assert!(painted("a fox in a forest by the sea, rain", width, height).is_some());
        }
    }

    #[test]
    fn sizes_out_of_bounds_are_refused() {
        for (width, height) in [(0, 0), (63, 64), (64, 2_049), (u32::MAX, 64)] {
            assert_eq!(painted("x", width, height), None);
        }
    }

    #[test]
    fn progress_rises_from_0_to_100_in_small_steps() {
        for height in [64, 300] {
            let mut told = Vec::new();
            let picture = paint("a river", 64, height, &mut |percent| {
                told.push(percent);
                ControlFlow::Continue(())
            });
            assert!(picture.is_some());
            assert_eq!((told.first(), told.last()), (Some(&0), Some(&100)));
            assert!(told.windows(2).all(|step| step[0] < step[1] && step[1] - step[0] <= 6), "{told:?}");
        }
    }

    #[test]
    fn breaking_off_stops_at_once() {
        for stop in [0, 30, 100] {
            let mut calls_after_the_break = 0;
            let mut broken = false;
            let picture = paint("a river", 64, 64, &mut |percent| {
                calls_after_the_break += usize::from(broken);
                if percent >= stop {
                    broken = true;
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            assert_eq!((picture, calls_after_the_break), (None, 0));
        }
    }

    #[test]
    fn prompts_of_any_kind_and_length_are_painted() {
        for prompt in ["🦊🦊🦊", "\u{0}\u{202e}", "ß".repeat(16_000).as_str(), "red blue cat ".repeat(1_300).as_str()] {
            assert!(painted(prompt, 64, 64).is_some());
        }
    }
}
