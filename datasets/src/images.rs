//! Examples in image files: decoded, brought to the asked-for channels, resized, prepared.

use crate::{
    Channels, DataError, Dataset, DatasetSpec, Root,
    classes::listing,
    folder::{Folder, load_files},
    preprocess::{Decoded, Values},
    resize::{MAX_SIDE, Pixels},
    spec::ImagesSpec,
};
use image::{DynamicImage, ImageReader, Limits};
use protocol::{DType, Task};
use std::io::Cursor;

/// File names that count as images.
pub(crate) const EXTENSIONS: &[&str] = &["bmp", "jpeg", "jpg", "png"];

/// Most bytes a decoder may hold for one image.
const MAX_DECODED_BYTES: u64 = 256 << 20;

pub(crate) fn load(
    spec: &DatasetSpec,
    images: &ImagesSpec,
    root: &Root,
    limit: u64,
    task: &Task,
) -> Result<Dataset, DataError> {
    let folder = Folder::open(root, &images.path)?;
    let listing = listing(spec, images.labels.as_deref(), &folder, root, EXTENSIONS, task)?;
    let remedy = if spec.preprocess.resize.is_none() { "; preprocess.resize brings them to one" } else { "" };
    load_files(spec, folder, listing, limit, remedy, |bytes| {
        let mut pixels = decode(bytes, images.channels)?;
        if let Some(resize) = spec.preprocess.resize {
            pixels = resize.apply(&pixels);
        }
        Ok(decoded(pixels))
    })
}

fn decoded(pixels: Pixels) -> Decoded {
    let shape = vec![u64::from(pixels.height), u64::from(pixels.width), pixels.channels as u64];
    Decoded { shape, values: Values::Raw(DType::U8, pixels.pixels) }
}

/// Decodes by content, not by name. 16-bit channels are scaled to 8, transparency is dropped, and
/// orientation marks of cameras are ignored.
fn decode(bytes: &[u8], channels: Channels) -> Result<Pixels, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes));
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    let reader = reader.with_guessed_format().map_err(|e| format!("cannot be read: {e}"))?;
    if reader.format().is_none() {
        return Err("is not a png, jpeg or bmp image".to_owned());
    }
    let image = reader.decode().map_err(|e| format!("cannot be decoded: {e}"))?;
    let (width, height) = (image.width(), image.height());
    if width == 0 || height == 0 {
        return Err("is empty".to_owned());
    }
    let is_gray = matches!(
        image,
        DynamicImage::ImageLuma8(_)
            | DynamicImage::ImageLuma16(_)
            | DynamicImage::ImageLumaA8(_)
            | DynamicImage::ImageLumaA16(_)
    );
    let (channels, pixels) = match channels {
        Channels::Rgb => (3, image.into_rgb8().into_raw()),
        Channels::Gray if is_gray => (1, image.into_luma8().into_raw()),
        Channels::Gray => (1, image.into_rgb8().as_chunks::<3>().0.iter().map(|p| brightness(*p)).collect()),
    };
    Ok(Pixels { width, height, channels, pixels })
}

/// ITU-R 601 in 16-bit fixed point, rounded: what Pillow's `convert("L")` gives.
fn brightness([red, green, blue]: [u8; 3]) -> u8 {
    ((u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471 + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, RgbImage};

    fn png(image: &DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn brightness_by_hand() {
        assert_eq!([brightness([255; 3]), brightness([0; 3])], [255, 0]);
        // .299 · 255 = 76.2, .587 · 255 = 149.7, .114 · 255 = 29.1
        let pure = [brightness([255, 0, 0]), brightness([0, 255, 0]), brightness([0, 0, 255])];
        assert_eq!(pure, [76, 150, 29]);
    }

    #[test]
    fn a_gray_image_is_not_weighted_again() {
        let gray = image::GrayImage::from_raw(2, 1, vec![3, 200]).unwrap();
        let bytes = png(&DynamicImage::ImageLuma8(gray));
        assert_eq!(decode(&bytes, Channels::Gray).unwrap().pixels, [3, 200]);
        assert_eq!(decode(&bytes, Channels::Rgb).unwrap().pixels, [3, 3, 3, 200, 200, 200]);
    }

    #[test]
    fn transparency_is_dropped() {
        let clear = image::RgbaImage::from_raw(1, 1, vec![10, 20, 30, 0]).unwrap();
        assert_eq!(
            decode(&png(&DynamicImage::ImageRgba8(clear)), Channels::Rgb).unwrap().pixels,
            [10, 20, 30]
        );
    }

    #[test]
    fn damaged_images_say_so() {
        assert!(decode(b"hello", Channels::Rgb).unwrap_err().contains("not a png, jpeg or bmp"));
        let whole = png(&DynamicImage::ImageRgb8(RgbImage::new(20, 20)));
        let cut = whole.get(..whole.len() / 2).unwrap();
        assert!(decode(cut, Channels::Rgb).unwrap_err().contains("cannot be decoded"));
    }
}
