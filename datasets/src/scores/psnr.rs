//! Peak signal-to-noise ratio of images (super-resolution, denoising), in dB: the mean over the images.

use super::error::check_pairs;
use super::{Outcomes, ScoreError, chosen};

const SCORE: &str = "PSNR";

/// Mean squared error, image by image.
#[derive(Clone, Debug, PartialEq)]
pub struct Psnr {
    peak: f64,
    errors: Vec<f64>,
}

impl Psnr {
    /// `peak` is the greatest possible value: 255 or 1.
    pub fn new(peak: f64) -> Result<Self, ScoreError> {
        if peak > 0.0 && peak.is_finite() {
            Ok(Self { peak, errors: Vec::new() })
        } else {
            let problem = format!("the peak is {peak}: it must be above 0");
            Err(ScoreError::Setting { score: SCORE, problem })
        }
    }

    /// Adds an image: all values of all channels. An answer with a NaN or an infinity is infinitely wrong.
    pub fn push(&mut self, answer: &[f32], truth: &[f32]) -> Result<(), ScoreError> {
        check_pairs(SCORE, answer.len(), truth.len())?;
        let example = self.errors.len();
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
        self.errors.push(if error.is_nan() { f64::INFINITY } else { error });
        Ok(())
    }

    /// Of one image; infinite where it is equal to the truth.
    pub fn of_image(&self, example: usize) -> Option<f64> {
        self.errors.get(example).map(|error| self.decibels(*error))
    }

    fn decibels(&self, error: f64) -> f64 {
        20.0 * self.peak.log10() - 10.0 * error.log10()
    }
}

impl Outcomes for Psnr {
    fn len(&self) -> usize {
        self.errors.len()
    }

    /// Infinite as soon as one image is.
    fn score(&self, at: &[usize]) -> Option<f64> {
        let values: Vec<f64> = chosen(&self.errors, at).map(|error| self.decibels(*error)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (!mean.is_nan()).then_some(mean)
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
        assert_eq!((psnr.of_image(1), psnr.total()), (Some(f64::INFINITY), Some(f64::INFINITY)));
        psnr.push(&[f32::NAN], &[0.5]).unwrap();
        assert_eq!((psnr.of_image(2), psnr.total()), (Some(f64::NEG_INFINITY), None));
        assert_eq!((psnr.score(&[]), psnr.of_image(3)), (None, None));
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
