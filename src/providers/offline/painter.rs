pub fn paint(_: &str, width: u32, height: u32, on_progress: &mut dyn FnMut(u8) -> std::ops::ControlFlow<()>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut e = png::Encoder::new(&mut out, width, height);
    e.set_color(png::ColorType::Rgb);
    let mut w = e.write_header().ok()?;
    w.write_image_data(&vec![9; (width * height * 3) as usize]).ok()?;
    w.finish().ok()?;
    for p in (0..=100).step_by(5) {
        if on_progress(p).is_break() {
            return None;
        }
    }
    Some(out)
}
