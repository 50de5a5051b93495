//! Pixels as PNG files. Draws nothing.

use std::io::{self, Write};

/// Writes an image of 8 bits per channel: 1 channel is grey, 3 are red, green and blue.
///
/// # Errors
/// `out` refused, or `pixels` are not `width × height × channels`.
pub(super) fn write(
    out: &mut dyn Write,
    (width, height): (u32, u32),
    channels: u8,
    pixels: &[u8],
) -> io::Result<()> {
    let mut encoder = png::Encoder::new(out, width, height);
    encoder.set_color(if channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(())
}
