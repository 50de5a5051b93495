//! Log-mel features of a recording, with every constant pinned: symmetric Hann window, power spectrum,
//! triangles on the HTK mel scale without area normalisation, natural logarithm. Computed in f64, stored
//! as f32. No padding here: frames that do not fit are left out.

use crate::DataError;
use realfft::RealFftPlanner;
use serde::Deserialize;
use std::f64::consts::PI;

/// Longest window, most bins: far beyond what speech models use.
const MAX_WINDOW: u32 = 65_536;
const MAX_BINS: u32 = 1_024;

/// `log_mel` in `[dataset.preprocess]`. A recording becomes `[frames, bins, 1]` with
/// `frames = (samples − window) / hop + 1`, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogMel {
    /// Samples per frame, also the length of the Fourier transform.
    pub window: u32,
    /// Samples from one frame to the next.
    pub hop: u32,
    /// Triangles.
    pub bins: u32,
    /// Where the first triangle starts, in Hz.
    pub low_hz: f64,
    /// Where the last triangle ends, in Hz; at most half the sample rate.
    pub high_hz: f64,
    /// Added to the energy before the logarithm.
    pub floor: f64,
}

impl LogMel {
    pub(crate) fn check(&self) -> Result<(), DataError> {
        let error = |key: &str, problem: String| {
            Err(DataError::new(format!("dataset.preprocess.log_mel.{key}"), problem))
        };
        if self.window < 2 || self.window > MAX_WINDOW {
            return error("window", format!("must be between 2 and {MAX_WINDOW} samples"));
        }
        if self.hop == 0 {
            return error("hop", "is 0: frames must advance".to_owned());
        }
        if self.bins == 0 || self.bins > MAX_BINS {
            return error("bins", format!("must be between 1 and {MAX_BINS}"));
        }
        if !(self.low_hz >= 0.0 && self.low_hz < self.high_hz && self.high_hz.is_finite()) {
            return error("low_hz", "must be at least 0 and below high_hz".to_owned());
        }
        if !(self.floor > 0.0 && self.floor.is_finite()) {
            return error("floor", "must be positive: silence has no logarithm".to_owned());
        }
        Ok(())
    }
}

/// The features of one definition at one sample rate, ready for many recordings.
pub(crate) struct Extractor {
    spec: LogMel,
    window: Vec<f64>,
    fft: std::sync::Arc<dyn realfft::RealToComplex<f64>>,
    /// Per bin: the first frequency with weight, and the weights from there on.
    triangles: Vec<(usize, Vec<f64>)>,
}

impl Extractor {
    /// `spec` was checked.
    pub(crate) fn new(spec: LogMel, sample_rate: u32) -> Result<Self, DataError> {
        if spec.high_hz > f64::from(sample_rate) / 2.0 {
            let problem =
                format!("is beyond half the sample rate of {sample_rate} Hz: nothing is recorded there");
            return Err(DataError::new("dataset.preprocess.log_mel.high_hz", problem));
        }
        let length = spec.window as usize;
        let window =
            (0..length).map(|n| 0.5 - 0.5 * (2.0 * PI * n as f64 / (length - 1) as f64).cos()).collect();
        let fft = RealFftPlanner::<f64>::new().plan_fft_forward(length);
        Ok(Self { spec, window, fft, triangles: triangles(&spec, sample_rate) })
    }

    pub(crate) fn frames(&self, samples: usize) -> usize {
        let (window, hop) = (self.spec.window as usize, self.spec.hop as usize);
        if samples < window { 0 } else { (samples - window) / hop + 1 }
    }

    /// Features of samples in −1 to 1: `frames × bins` values. The error is the problem alone.
    pub(crate) fn extract(&self, samples: &[f64]) -> Result<Vec<f32>, String> {
        let mut frame = self.fft.make_input_vec();
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let frames = self.frames(samples.len());
        let mut features = Vec::with_capacity(frames * self.triangles.len());
        for part in samples.windows(frame.len()).step_by(self.spec.hop as usize) {
            for ((to, sample), weight) in frame.iter_mut().zip(part).zip(&self.window) {
                *to = sample * weight;
            }
            let transformed = self.fft.process_with_scratch(&mut frame, &mut spectrum, &mut scratch);
            transformed.map_err(|e| format!("the Fourier transform failed: {e}"))?;
            let power: Vec<f64> = spectrum.iter().map(|c| c.norm_sqr()).collect();
            for (first, weights) in &self.triangles {
                let energy: f64 = power.iter().skip(*first).zip(weights).map(|(p, w)| p * w).sum();
                features.push((energy + self.spec.floor).ln() as f32);
            }
        }
        Ok(features)
    }
}

fn mel(hz: f64) -> f64 {
    2595.0 * (1.0 + hz / 700.0).log10()
}

fn hz(mel: f64) -> f64 {
    700.0 * (10f64.powf(mel / 2595.0) - 1.0)
}

fn triangles(spec: &LogMel, sample_rate: u32) -> Vec<(usize, Vec<f64>)> {
    let (low, high) = (mel(spec.low_hz), mel(spec.high_hz));
    let corner = |k: u32| hz(low + (high - low) * f64::from(k) / f64::from(spec.bins + 1));
    let frequency = |i: u32| f64::from(i) * f64::from(sample_rate) / f64::from(spec.window);
    let triangle = |bin: u32| {
        let (left, peak, right) = (corner(bin), corner(bin + 1), corner(bin + 2));
        let rise = |f: f64| ((f - left) / (peak - left)).min((right - f) / (right - peak)).max(0.0);
        let weights: Vec<f64> = (0..=spec.window / 2).map(|i| rise(frequency(i))).collect();
        let first = weights.iter().position(|w| *w > 0.0).unwrap_or(weights.len());
        let last = weights.iter().rposition(|w| *w > 0.0).map_or(first, |l| l + 1);
        (first, weights.get(first..last).unwrap_or_default().to_vec())
    };
    (0..spec.bins).map(triangle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: LogMel =
        LogMel { window: 256, hop: 128, bins: 32, low_hz: 60.0, high_hz: 3900.0, floor: 1e-6 };

    #[test]
    fn the_mel_scale_turns_back() {
        assert!((mel(1000.0) - 1000.0).abs() < 0.02, "1000 Hz are 1000 mel");
        assert!((hz(mel(440.0)) - 440.0).abs() < 1e-9);
    }

    #[test]
    fn silence_is_the_floor() {
        let features = Extractor::new(SPEC, 8000).unwrap().extract(&[0.0; 8000]).unwrap();
        assert_eq!(features.len(), 61 * 32);
        assert!(features.iter().all(|f| *f == 1e-6f64.ln() as f32));
    }

    #[test]
    fn a_tone_is_loudest_in_its_bin() {
        let tone: Vec<f64> = (0..256).map(|n| (2.0 * PI * 1000.0 * f64::from(n) / 8000.0).sin()).collect();
        let features = Extractor::new(SPEC, 8000).unwrap().extract(&tone).unwrap();
        let loudest = (0..32).max_by(|a, b| features[*a].total_cmp(&features[*b])).unwrap();
        let (low, step) = (mel(60.0), (mel(3900.0) - mel(60.0)) / 33.0);
        let expected = ((mel(1000.0) - low) / step - 1.0).round() as usize;
        assert_eq!(loudest, expected);
    }

    #[test]
    fn too_short_is_no_frame() {
        let extractor = Extractor::new(SPEC, 8000).unwrap();
        assert_eq!((extractor.frames(255), extractor.frames(256), extractor.frames(384)), (0, 1, 2));
        assert!(extractor.extract(&[0.0; 255]).unwrap().is_empty());
    }

    #[test]
    fn constants_are_checked() {
        let problem = |spec: LogMel| spec.check().unwrap_err().to_string();
        assert!(problem(LogMel { window: 1, ..SPEC }).contains("log_mel.window"));
        assert!(problem(LogMel { hop: 0, ..SPEC }).contains("log_mel.hop"));
        assert!(problem(LogMel { bins: 0, ..SPEC }).contains("log_mel.bins"));
        assert!(problem(LogMel { low_hz: 4000.0, ..SPEC }).contains("log_mel.low_hz"));
        assert!(problem(LogMel { low_hz: f64::NAN, ..SPEC }).contains("log_mel.low_hz"));
        assert!(problem(LogMel { floor: 0.0, ..SPEC }).contains("log_mel.floor"));
        assert!(Extractor::new(SPEC, 6000).is_err(), "3900 Hz at 6000 Hz");
    }
}
