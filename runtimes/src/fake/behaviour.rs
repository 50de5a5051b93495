//! The text of a fake model, parsed. What it means stands in the module above.

use protocol::{DType, Quantization, TensorInfo};
use std::{fmt, str::FromStr};

const HEADER: &str = "bench-fake v1";

/// Elements of one tensor.
const MAX_ELEMENTS: u64 = 1 << 24;
/// Memory it may take on purpose; no more than a device of 32 bits can give.
const MAX_BYTES: usize = 1 << 30;

/// How a fake model behaves.
#[derive(Clone, Debug)]
pub(super) struct Behaviour {
    pub(super) inputs: Vec<TensorInfo>,
    pub(super) outputs: Vec<TensorInfo>,
    pub(super) gain: f64,
    pub(super) busy_us: u64,
    pub(super) sleep_us: u64,
    pub(super) hold_bytes: usize,
    pub(super) spike_bytes: usize,
    pub(super) faults: Vec<(Fault, Place)>,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Crash(i32),
    Exit(i32),
    Hang,
    Panic,
    Error,
    Print,
    Unstable,
}

/// When it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Load,
    Compile,
    Invoke(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load => f.write_str("at load"),
            Self::Compile => f.write_str("at compile"),
            Self::Invoke(n) => write!(f, "at invoke {n}"),
        }
    }
}

/// Elements of a tensor with no open dimension.
pub(super) fn elements(info: &TensorInfo) -> usize {
    info.shape.iter().flatten().product::<u64>() as usize
}

impl Behaviour {
    /// Reads the text; the error names the line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = (1..).zip(text.lines());
        if lines.next().is_none_or(|(_, first)| first.trim() != HEADER) {
            return Err(format!("the first line is not {HEADER:?}"));
        }
        let mut behaviour = Self {
            inputs: Vec::new(),
            outputs: Vec::new(),
            gain: 1.0,
            busy_us: 0,
            sleep_us: 0,
            hold_bytes: 0,
            spike_bytes: 0,
            faults: Vec::new(),
        };
        for (number, line) in lines {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                behaviour.line(line).map_err(|e| format!("line {number}: {e}"))?;
            }
        }
        if behaviour.inputs.is_empty() || behaviour.outputs.is_empty() {
            return Err("at least one input and one output".to_owned());
        }
        Ok(behaviour)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let (key, value) = line.split_once('=').ok_or("a line is key = value")?;
        let value = value.trim();
        match key.trim() {
            "input" => self.inputs.push(tensor(value)?),
            "output" => self.outputs.push(tensor(value)?),
            "gain" => self.gain = number(value)?,
            "busy_us" => self.busy_us = number(value)?,
            "sleep_us" => self.sleep_us = number(value)?,
            "hold_bytes" => self.hold_bytes = bytes(value)?,
            "spike_bytes" => self.spike_bytes = bytes(value)?,
            "fault" => self.faults.push(fault(value)?),
            other => return Err(format!("unknown key {other:?}")),
        }
        Ok(())
    }

    /// Are the outputs of this invoke to differ from those before?
    pub(super) fn unstable_at(&self, place: Place) -> bool {
        self.faults.iter().any(|(fault, at)| *fault == Fault::Unstable && *at <= place)
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn bytes(text: &str) -> Result<usize, String> {
    let bytes: usize = number(text)?;
    if bytes > MAX_BYTES { Err(format!("at most {MAX_BYTES} bytes")) } else { Ok(bytes) }
}

/// `NAME TYPE DIMxDIM [scale S zero Z]`
fn tensor(text: &str) -> Result<TensorInfo, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (name, dtype, shape, quantization) = match words.as_slice() {
        [name, dtype, shape] => (name, dtype, shape, None),
        [name, dtype, shape, "scale", scale, "zero", zero] => {
            let scale: f32 = number(scale)?;
            if !scale.is_finite() || scale <= 0.0 {
                return Err(format!("scale {scale} is not above 0"));
            }
            let quantization = Quantization { scale: vec![scale], zero_point: vec![number(zero)?], axis: 0 };
            (name, dtype, shape, Some(quantization))
        }
        _ => return Err("a tensor is NAME TYPE DIMxDIM [scale S zero Z]".to_owned()),
    };
    let dtype = [DType::F32, DType::I8, DType::U8].into_iter().find(|d| d.name() == *dtype);
    let dtype = dtype.ok_or("the types are f32, i8 and u8")?;
    let shape: Vec<u64> = shape.split('x').map(number).collect::<Result<_, _>>()?;
    let count = shape.iter().try_fold(1u64, |all, d| all.checked_mul(*d));
    if count.is_none_or(|n| n == 0 || n > MAX_ELEMENTS) {
        return Err(format!("a tensor has 1 to {MAX_ELEMENTS} elements"));
    }
    let shape = shape.into_iter().map(Some).collect();
    Ok(TensorInfo { name: (*name).to_owned(), dtype, shape, quantization })
}

fn fault(text: &str) -> Result<(Fault, Place), String> {
    let (what, place) = text.split_once(" at ").ok_or("a fault is WHAT at load, compile or invoke N")?;
    let words: Vec<&str> = what.split_whitespace().collect();
    let fault = match words.as_slice() {
        ["crash", signal] => Fault::Crash(number(signal)?),
        ["exit", code] => Fault::Exit(number(code)?),
        ["hang"] => Fault::Hang,
        ["panic"] => Fault::Panic,
        ["error"] => Fault::Error,
        ["print"] => Fault::Print,
        ["unstable"] => Fault::Unstable,
        _ => return Err(format!("unknown fault {what:?}")),
    };
    let words: Vec<&str> = place.split_whitespace().collect();
    let place = match words.as_slice() {
        ["load"] => Place::Load,
        ["compile"] => Place::Compile,
        ["invoke", n] => Place::Invoke(number(n)?),
        _ => return Err(format!("unknown place {place:?}")),
    };
    Ok((fault, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "bench-fake v1\ninput = x f32 1x4\noutput = y i8 1x2 scale 0.5 zero -3\n";

    #[test]
    fn a_whole_file() {
        let text = format!(
            "{BASE}# comment\nbusy_us = 300 # more\nfault = crash 11 at invoke 3\n\nfault=hang at load"
        );
        let b = Behaviour::parse(&text).unwrap();
        assert_eq!((b.busy_us, b.gain, elements(&b.inputs[0]), elements(&b.outputs[0])), (300, 1.0, 4, 2));
        assert_eq!(b.faults, [(Fault::Crash(11), Place::Invoke(3)), (Fault::Hang, Place::Load)]);
    }

    #[test]
    fn unstable_from_an_invoke_on() {
        let b = Behaviour::parse(&format!("{BASE}fault = unstable at invoke 5")).unwrap();
        assert!(!b.unstable_at(Place::Invoke(4)) && b.unstable_at(Place::Invoke(5)));
        assert!(b.unstable_at(Place::Invoke(6)) && !b.unstable_at(Place::Load));
    }

    #[test]
    fn bad_files_are_refused_with_the_line() {
        assert!(Behaviour::parse("").is_err());
        assert!(Behaviour::parse("bench-fake v2\n").is_err());
        assert!(Behaviour::parse("bench-fake v1\ninput = x f32 1").is_err());
        for line in [
            "what",
            "speed = 3",
            "busy_us = -1",
            "hold_bytes = 99999999999999",
            "input = x f64 1",
            "input = x f32 1x0",
            "input = x f32 99999999999x99999999999",
            "input = x i8 1 scale 0 zero 0",
            "input = x i8 1 scale NaN zero 0",
            "fault = fire at load",
            "fault = hang at night",
            "fault = hang",
        ] {
            let error = Behaviour::parse(&format!("{BASE}{line}\n")).unwrap_err();
            assert!(error.starts_with("line 4: "), "{line}: {error}");
        }
    }
}
