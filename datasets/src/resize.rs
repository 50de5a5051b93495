//! Resizing 8-bit images by exact integer arithmetic: the same bytes on every machine. Both rules are
//! separable weighted means with rational weights; the result is rounded half up.

use crate::DataError;
use serde::Deserialize;

/// Largest width or height, before and after: keeps every product within 64 bits.
pub(crate) const MAX_SIDE: u32 = 16_384;

/// `resize` in `[dataset.preprocess]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// How pixels are weighted.
    #[serde(default)]
    pub rule: ResizeRule,
    /// What becomes of another aspect ratio.
    #[serde(default)]
    pub fit: Fit,
}

/// How the pixels of the source are weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeRule {
    /// Between the four nearest pixels, sample points at pixel centres, edges repeated, no smoothing
    /// beforehand: `tf.image.resize` with `bilinear`, OpenCV's `INTER_LINEAR`.
    #[default]
    Bilinear,
    /// Mean over the area that a pixel covers in the source: OpenCV's `INTER_AREA` when it shrinks.
    Area,
}

/// What becomes of an image with another aspect ratio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// It is distorted.
    #[default]
    Stretch,
    /// The largest part from its middle with the right ratio is taken.
    CenterCrop,
}

/// An image: `pixels` holds `height × width × channels` bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pixels {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: usize,
    pub(crate) pixels: Vec<u8>,
}

/// Weighted source positions of one target position; the weights add up to the axis's total.
type Taps = Vec<(usize, u64)>;

impl Resize {
    pub(crate) fn check(self) -> Result<(), DataError> {
        for (key, side) in [("width", self.width), ("height", self.height)] {
            if side == 0 || side > MAX_SIDE {
                let place = format!("dataset.preprocess.resize.{key}");
                return Err(DataError::new(place, format!("must be between 1 and {MAX_SIDE} pixels")));
            }
        }
        Ok(())
    }

    /// Sides of `image` are at most [`MAX_SIDE`].
    pub(crate) fn apply(self, image: &Pixels) -> Pixels {
        let (x, width, y, height) = match self.fit {
            Fit::Stretch => (0, image.width, 0, image.height),
            Fit::CenterCrop => self.middle(image.width, image.height),
        };
        let (columns, total_x) = self.rule.axis(x, width, self.width);
        let (rows, total_y) = self.rule.axis(y, height, self.height);
        let total = total_x * total_y;
        let stride = image.width as usize * image.channels;
        let mut pixels = Vec::with_capacity(rows.len() * columns.len() * image.channels);
        for row in &rows {
            for column in &columns {
                for channel in 0..image.channels {
                    let at = |y: usize, x: usize| image.pixels.get(y * stride + x * image.channels + channel);
                    let value = |y, x| u64::from(at(y, x).copied().unwrap_or(0));
                    let across =
                        |y: usize| column.iter().map(|(x, weight)| weight * value(y, *x)).sum::<u64>();
                    let sum: u64 = row.iter().map(|(y, weight)| weight * across(*y)).sum();
                    pixels.push(((sum + total / 2) / total) as u8);
                }
            }
        }
        Pixels { width: self.width, height: self.height, channels: image.channels, pixels }
    }

    /// The largest part from the middle with the target's aspect ratio: x, width, y, height.
    fn middle(self, width: u32, height: u32) -> (u32, u32, u32, u32) {
        let (w, h) = (u64::from(width), u64::from(height));
        let (tw, th) = (u64::from(self.width), u64::from(self.height));
        if w * th > h * tw {
            let part = ((h * tw / th) as u32).max(1);
            ((width - part) / 2, part, 0, height)
        } else {
            let part = ((w * th / tw) as u32).max(1);
            (0, width, (height - part) / 2, part)
        }
    }
}

impl ResizeRule {
    /// Taps of every target position for `length` source pixels from `start` on, and the sum of the
    /// weights of each.
    fn axis(self, start: u32, length: u32, target: u32) -> (Vec<Taps>, u64) {
        let (start, length, target) = (i64::from(start), i64::from(length), i64::from(target));
        let place = |i: i64| (start + i.clamp(0, length - 1)) as usize;
        match self {
            Self::Bilinear => {
                // the centre of target pixel i lies at ((2i + 1) · length − target) / (2 · target)
                let total = 2 * target;
                let taps = |i: i64| {
                    let position = (2 * i + 1) * length - target;
                    let (before, right) = (position.div_euclid(total), position.rem_euclid(total));
                    vec![(place(before), (total - right) as u64), (place(before + 1), right as u64)]
                };
                ((0..target).map(taps).collect(), total as u64)
            }
            Self::Area => {
                // in units of 1/target of a source pixel, target pixel i covers [i · length, (i + 1) · length)
                let taps = |i: i64| {
                    let (from, to) = (i * length, (i + 1) * length);
                    let overlap = |p: i64| to.min((p + 1) * target) - from.max(p * target);
                    let covered = from / target..=(to - 1) / target;
                    covered.map(|p| (place(p), overlap(p) as u64)).collect()
                };
                ((0..target).map(taps).collect(), length as u64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(width: u32, height: u32, pixels: &[u8]) -> Pixels {
        Pixels { width, height, channels: 1, pixels: pixels.to_vec() }
    }

    fn to(width: u32, height: u32, rule: ResizeRule) -> Resize {
        Resize { width, height, rule, fit: Fit::Stretch }
    }

    #[test]
    fn the_same_size_changes_nothing() {
        let image = gray(3, 2, &[1, 2, 3, 250, 251, 255]);
        for rule in [ResizeRule::Bilinear, ResizeRule::Area] {
            assert_eq!(to(3, 2, rule).apply(&image), image);
        }
    }

    #[test]
    fn bilinear_by_hand() {
        // centres of 4 pixels over 2: −1/4 (edge), 1/4, 3/4, 5/4 (edge); 100 · 1/4 = 25
        let up = to(4, 1, ResizeRule::Bilinear).apply(&gray(2, 1, &[0, 100]));
        assert_eq!(up.pixels, [0, 25, 75, 100]);
        // centres of 2 over 4: 1/2 and 5/2
        let down = to(2, 1, ResizeRule::Bilinear).apply(&gray(4, 1, &[10, 20, 30, 41]));
        assert_eq!(down.pixels, [15, 36]);
        // 3 rows over 2: −1/6 (edge), 1/2, 7/6 (edge)
        let tall = to(1, 3, ResizeRule::Bilinear).apply(&gray(1, 2, &[0, 255]));
        assert_eq!(tall.pixels, [0, 128, 255]);
    }

    #[test]
    fn area_by_hand() {
        let down = to(2, 1, ResizeRule::Area).apply(&gray(3, 1, &[10, 40, 100]));
        // (10 · 2 + 40 · 1) / 3 and (40 · 1 + 100 · 2) / 3
        assert_eq!(down.pixels, [20, 80]);
        let one = to(1, 1, ResizeRule::Area).apply(&gray(2, 2, &[0, 1, 1, 0]));
        assert_eq!(one.pixels, [1], "0.5 is rounded up");
    }

    #[test]
    fn the_middle_is_cropped() {
        let resize = Resize { fit: Fit::CenterCrop, ..to(1, 1, ResizeRule::Area) };
        assert_eq!(resize.apply(&gray(3, 1, &[9, 50, 200])).pixels, [50]);
        assert_eq!(resize.apply(&gray(1, 3, &[9, 60, 200])).pixels, [60]);
    }

    #[test]
    fn a_constant_image_stays_constant_at_any_size() {
        for (width, height) in [(1, 1), (7, 3), (13, 40), (224, 5)] {
            for rule in [ResizeRule::Bilinear, ResizeRule::Area] {
                let image = Pixels { width: 31, height: 17, channels: 3, pixels: vec![255; 31 * 17 * 3] };
                let resized = to(width, height, rule).apply(&image);
                assert_eq!(resized.pixels, vec![255; (width * height * 3) as usize]);
            }
        }
    }

    #[test]
    fn sides_are_bounded() {
        assert!(to(0, 4, ResizeRule::Area).check().unwrap_err().to_string().contains("resize.width"));
        assert!(
            to(4, MAX_SIDE + 1, ResizeRule::Area).check().unwrap_err().to_string().contains("resize.height")
        );
    }
}
