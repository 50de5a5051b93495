//! Peak signal-to-noise ratio of images (super-resolution, denoising), in dB: the mean over the images, each
//! held between ±[`MAX_DB`] so that one image that is exact, or no image at all, leaves a mean.

use super::error::check_pairs;
use super::{Outcomes, ScoreError, chosen};

const SCORE: &str = "PSNR";

/// What an exact image counts for, and below 0 one with a NaN. 16 bits are used up at 96 dB.
pub const MAX_DB: f64 = 100.0;

/// Decibels, image by image.
#[derive(Clone, Debug, PartialEq)]
pub struct Psnr {
    peak: f64,
    decibels: Vec<f64>,
}

impl Psnr {
    /// `peak` is the greatest possible value: 255 or 1.
    pub fn new(peak: f64) -> Result<Self, ScoreError> {
        if peak > 0.0 && peak.is_finite() {
            Ok(Self { peak, decibels: Vec::new() })
        } else {
            let problem = format!("the peak is {peak}: it must be above 0");
            Err(ScoreError::Setting { score: SCORE, problem })
        }
    }

    /// Adds an image: all values of all channels. An answer with a NaN or an infinity is infinitely wrong.
    pub fn push(&mut self, answer: &[f32], truth: &[f32]) -> Result<(), ScoreError> {
        check_pairs(SCORE, answer.len(), truth.len())?;
        let example = self.decibels.len();
        let bad =
            |problem: &str| Err(ScoreError::Example { score: SCORE, example, problem: problem.to_owned() });
        if truth.is_empty() {
            return bad("is an image without pixels");
        }
        if truth.iter().any(|v| !v.is_finite()) {
            return bad("has a true value that is not a finite number");
        }
        let squares = answer.iter().zip(truth).map(|(a, t)| (f64::from(*a) - f64::from(*t)).powi(2));
        let error = squares.sum::<f64>() / truth.len() as f64;
        let error = if error.is_nan() { f64::INFINITY } else { error };
        let decibels = 20.0 * self.peak.log10() - 10.0 * error.log10();
        self.decibels.push(decibels.clamp(-MAX_DB, MAX_DB));
        Ok(())
    }
}

impl Outcomes for Psnr {
    fn len(&self) -> usize {
        self.decibels.len()
    }

    fn score(&self, at: &[usize]) -> Option<f64> {
        let (sum, n) = chosen(&self.decibels, at).fold((0.0, 0u64), |(sum, n), value| (sum + value, n + 1));
        (n > 0).then(|| sum / n as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut psnr = Psnr::new(1.0).unwrap();
        psnr.push(&[0.1, 0.4], &[0.0, 0.5]).unwrap();
        assert!((psnr.total().unwrap() - 20.0).abs() < 1e-6);
        psnr.push(&[0.5], &[0.5]).unwrap();
        assert_eq!(psnr.of_example(1), Some(MAX_DB));
        assert!((psnr.total().unwrap() - 60.0).abs() < 1e-6);
        psnr.push(&[f32::NAN], &[0.5]).unwrap();
        assert_eq!(psnr.of_example(2), Some(-MAX_DB));
        assert_eq!((psnr.score(&[]), psnr.of_example(3)), (None, None));
    }

    #[test]
    fn bad_input_is_named() {
        let mut psnr = Psnr::new(255.0).unwrap();
        assert!(matches!(psnr.push(&[0.0], &[]), Err(ScoreError::Unpaired { .. })));
        assert!(psnr.push(&[], &[]).unwrap_err().to_string().contains("without pixels"));
        assert!(psnr.push(&[0.0], &[f32::NAN]).unwrap_err().to_string().contains("true value"));
        assert!(Psnr::new(0.0).is_err() && Psnr::new(f64::NAN).is_err());
    }
}
