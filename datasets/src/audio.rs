//! Examples in .wav recordings: mono samples, one length, features or the samples themselves.

use crate::{
    AudioSpec, Clip, ClipEnd, DataError, Dataset, DatasetSpec, PadEnd, Root,
    classes::listing,
    folder::{Folder, load_files},
    log_mel::Extractor,
    preprocess::{Decoded, Values},
};
use hound::{SampleFormat, WavReader};
use protocol::Task;

/// File names that count as recordings.
pub(crate) const EXTENSIONS: &[&str] = &["wav"];

/// Longest recording, in samples of one channel.
const MAX_SAMPLES: usize = 16 << 20;

/// Most channels; beyond any microphone.
const MAX_CHANNELS: u16 = 64;

pub(crate) fn load(
    spec: &DatasetSpec,
    audio: &AudioSpec,
    root: &Root,
    limit: u64,
    task: &Task,
) -> Result<Dataset, DataError> {
    let folder = Folder::open(root, &audio.path)?;
    let listing = listing(spec, audio.labels.as_deref(), &folder, root, EXTENSIONS, task)?;
    let extractor = spec.preprocess.log_mel.map(|l| Extractor::new(l, audio.sample_rate)).transpose()?;
    let remedy = if audio.clip.is_none() { "; audio.clip brings them to one" } else { "" };
    load_files(spec, folder, listing, limit, remedy, |bytes| {
        let samples = decode(bytes, audio.sample_rate)?;
        let samples = match audio.clip {
            Some(clip) => clip.apply(&samples),
            None => samples,
        };
        decoded(&samples, extractor.as_ref())
    })
}

fn decoded(samples: &[f64], extractor: Option<&Extractor>) -> Result<Decoded, String> {
    let Some(extractor) = extractor else {
        let values = samples.iter().map(|s| *s as f32).collect();
        return Ok(Decoded { shape: vec![samples.len() as u64], values: Values::F32(values) });
    };
    let features = extractor.extract(samples)?;
    let frames = extractor.frames(samples.len());
    if frames == 0 {
        return Err(format!("has {} samples, fewer than one window: pad with audio.clip", samples.len()));
    }
    let bins = features.len() / frames;
    Ok(Decoded { shape: vec![frames as u64, bins as u64, 1], values: Values::F32(features) })
}

impl Clip {
    fn apply(self, samples: &[f64]) -> Vec<f64> {
        let length = self.samples as usize;
        if samples.len() >= length {
            let surplus = samples.len() - length;
            let start = match self.cut {
                ClipEnd::End => 0,
                ClipEnd::Both => surplus / 2,
            };
            return samples.get(start..start + length).unwrap_or_default().to_vec();
        }
        let silence = length - samples.len();
        let before = match self.pad {
            PadEnd::End => 0,
            PadEnd::Both => silence / 2,
        };
        let mut clip = vec![0.0; before];
        clip.extend_from_slice(samples);
        clip.resize(length, 0.0);
        clip
    }
}

/// Samples from −1 to 1, the channels averaged.
fn decode(bytes: &[u8], sample_rate: u32) -> Result<Vec<f64>, String> {
    let mut reader = WavReader::new(bytes).map_err(|e| words(&e))?;
    let spec = reader.spec();
    if spec.sample_rate != sample_rate {
        let rate = spec.sample_rate;
        return Err(format!(
            "was recorded with {rate} Hz, and audio.sample_rate says {sample_rate}: resample it \
             (for example: sox in.wav -r {sample_rate} out.wav), nothing is resampled here"
        ));
    }
    if spec.channels == 0 || spec.channels > MAX_CHANNELS {
        return Err(format!("has {} channels", spec.channels));
    }
    let channels = usize::from(spec.channels);
    let limit = MAX_SAMPLES * channels;
    if reader.len() as usize > limit {
        return Err(format!("is longer than the limit of {MAX_SAMPLES} samples"));
    }
    let interleaved: Vec<f64> = match spec.sample_format {
        SampleFormat::Float => {
            reader.samples::<f32>().take(limit).map(|s| s.map(f64::from)).collect::<Result<_, _>>()
        }
        SampleFormat::Int => {
            let full = 2f64.powi(i32::from(spec.bits_per_sample) - 1);
            reader
                .samples::<i32>()
                .take(limit)
                .map(|s| s.map(|s| f64::from(s) / full))
                .collect::<Result<_, _>>()
        }
    }
    .map_err(|e| words(&e))?;
    if interleaved.is_empty() {
        return Err("holds no samples".to_owned());
    }
    if interleaved.iter().any(|s| !s.is_finite()) {
        return Err("holds a sample that is not a finite number".to_owned());
    }
    Ok(interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f64>() / channels as f64).collect())
}

fn words(error: &hound::Error) -> String {
    match error {
        // the bytes are in memory already: reading can only fail at their end
        hound::Error::IoError(_) => "ends too early: it is truncated".to_owned(),
        hound::Error::FormatError(reason) => format!("is not a .wav file, or is damaged: {reason}"),
        hound::Error::Unsupported => "is coded in a way that is not supported: save it as PCM".to_owned(),
        other => format!("cannot be decoded: {other}"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hound::{WavSpec, WavWriter};
    use std::io::Cursor;

    pub(crate) fn wav(rate: u32, bits: u16, channels: u16, samples: &[i32]) -> Vec<u8> {
        let spec =
            WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format: SampleFormat::Int };
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
        samples.iter().for_each(|s| writer.write_sample(*s).unwrap());
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    #[test]
    fn every_depth_comes_to_the_same_range() {
        for bits in [8, 16, 24, 32] {
            let half = 1i32 << (bits - 2);
            let samples = decode(&wav(8000, bits, 1, &[0, half, -half, -half * 2]), 8000).unwrap();
            assert_eq!(samples, [0.0, 0.5, -0.5, -1.0], "{bits} bits");
        }
    }

    #[test]
    fn float_samples_are_taken_as_they_are() {
        let spec = WavSpec {
            channels: 1,
            sample_rate: 8000,
            bits_per_sample: 32,
            sample_format: SampleFormat::Float,
        };
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).unwrap();
        [0.25f32, -1.5].iter().for_each(|s| writer.write_sample(*s).unwrap());
        writer.finalize().unwrap();
        assert_eq!(decode(bytes.get_ref(), 8000).unwrap(), [0.25, -1.5]);
    }

    #[test]
    fn channels_are_averaged() {
        let samples = decode(&wav(8000, 16, 2, &[16384, 0, -16384, 16384]), 8000).unwrap();
        assert_eq!(samples, [0.25, 0.0]);
    }

    #[test]
    fn one_length_for_all() {
        let clip = |pad, cut, samples| Clip { samples, pad, cut };
        assert_eq!(clip(PadEnd::Both, ClipEnd::End, 5).apply(&[1.0, 2.0]), [0.0, 1.0, 2.0, 0.0, 0.0]);
        assert_eq!(clip(PadEnd::End, ClipEnd::End, 3).apply(&[1.0]), [1.0, 0.0, 0.0]);
        assert_eq!(clip(PadEnd::End, ClipEnd::End, 2).apply(&[1.0, 2.0, 3.0, 4.0, 5.0]), [1.0, 2.0]);
        assert_eq!(clip(PadEnd::End, ClipEnd::Both, 2).apply(&[1.0, 2.0, 3.0, 4.0, 5.0]), [2.0, 3.0]);
    }

    #[test]
    fn what_cannot_be_used_says_what_to_do() {
        let problem = decode(&wav(44_100, 16, 1, &[0]), 8000).unwrap_err();
        assert!(problem.contains("44100 Hz") && problem.contains("sox in.wav -r 8000"), "{problem}");
        assert!(decode(b"RIFF", 8000).is_err());
        assert!(decode(&wav(8000, 16, 1, &[]), 8000).unwrap_err().contains("no samples"));
        let whole = wav(8000, 16, 1, &[1, 2, 3, 4]);
        let cut = whole.get(..whole.len() - 3).unwrap();
        let problem = decode(cut, 8000).unwrap_err();
        assert!(problem.contains("truncated") || problem.contains("damaged"), "{problem}");
    }
}
