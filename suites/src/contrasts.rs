//! Which case is compared with which. Pure: cases of one device in, pairs of positions out.

use protocol::{Contrast, ContrastKind, Format, Precision, RuntimeId};

/// A case of one device, as far as pairing needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Position among the variants.
    pub variant: usize,
    /// Position of the variant it is compared with; its own, when it is a reference; `None` when that one was left
    /// out.
    pub reference: Option<usize>,
    /// Runtime and backend.
    pub runtime: RuntimeId,
    /// Format of the model.
    pub format: Format,
    /// Precision found in the model, else as declared.
    pub precision: Option<Precision>,
}

/// The contrasts of the asked-for kinds among the cases of one device.
///
/// * [`ContrastKind::Reference`]: every case against its reference variant on the same runtime; where
///   that runtime has no such case, or it is that case itself, against the first case of the reference
///   variant.
/// * [`ContrastKind::Format`]: every ONNX case against every TFLite case of equal precision on the same
///   runtime. A case without a known precision has none.
///
/// A pair that both kinds name is listed under both.
pub fn contrasts(sides: &[Side], kinds: &[ContrastKind]) -> Vec<Contrast> {
    let mut found = Vec::new();
    for kind in [ContrastKind::Reference, ContrastKind::Format].into_iter().filter(|k| kinds.contains(k)) {
        for (candidate, side) in sides.iter().enumerate() {
            let partners = match kind {
                ContrastKind::Reference => reference_of(sides, candidate, side).into_iter().collect(),
                ContrastKind::Format => twins_of(sides, side),
            };
            found.extend(partners.into_iter().map(|reference| Contrast { kind, candidate, reference }));
        }
    }
    found
}

fn reference_of(sides: &[Side], candidate: usize, side: &Side) -> Option<usize> {
    let reference = side.reference?;
    let same_runtime = sides.iter().position(|s| s.variant == reference && s.runtime == side.runtime);
    let first = sides.iter().position(|s| s.variant == reference);
    same_runtime.filter(|r| *r != candidate).or(first).filter(|r| *r != candidate)
}

fn twins_of(sides: &[Side], side: &Side) -> Vec<usize> {
    if side.format != Format::Onnx || side.precision.is_none() {
        return Vec::new();
    }
    let twin = |other: &Side| {
        other.format == Format::Tflite && other.precision == side.precision && other.runtime == side.runtime
    };
    sides.iter().enumerate().filter(|(_, other)| twin(other)).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(variant: usize, runtime: &str, format: Format, precision: Precision) -> Side {
        Side {
            variant,
            reference: Some(0),
            runtime: runtime.parse().unwrap(),
            format,
            precision: Some(precision),
        }
    }

    fn pairs(contrasts: &[Contrast], kind: ContrastKind) -> Vec<(usize, usize)> {
        contrasts.iter().filter(|c| c.kind == kind).map(|c| (c.candidate, c.reference)).collect()
    }

    const BOTH: &[ContrastKind] = &[ContrastKind::Reference, ContrastKind::Format];

    #[test]
    fn variants_against_the_reference_and_formats_at_equal_precision() {
        let sides = [
            side(0, "builtin/cpu", Format::Tflite, Precision::Fp32),
            side(1, "builtin/cpu", Format::Tflite, Precision::Int8),
            side(2, "builtin/cpu", Format::Onnx, Precision::Fp32),
            side(3, "builtin/cpu", Format::Onnx, Precision::Int8),
        ];
        let found = contrasts(&sides, BOTH);
        assert_eq!(pairs(&found, ContrastKind::Reference), [(1, 0), (2, 0), (3, 0)]);
        assert_eq!(pairs(&found, ContrastKind::Format), [(2, 0), (3, 1)]);
        assert_eq!(contrasts(&sides, &[ContrastKind::Format]).len(), 2);
    }

    #[test]
    fn a_runtime_without_the_reference_compares_with_the_first() {
        let sides = [
            side(0, "litert/xnnpack", Format::Tflite, Precision::Fp32),
            side(1, "onnxruntime/cpu", Format::Onnx, Precision::Fp32),
            side(0, "builtin/cpu", Format::Tflite, Precision::Fp32),
            side(1, "builtin/cpu", Format::Onnx, Precision::Fp32),
        ];
        let found = contrasts(&sides, BOTH);
        assert_eq!(pairs(&found, ContrastKind::Reference), [(1, 0), (2, 0), (3, 2)]);
        assert_eq!(pairs(&found, ContrastKind::Format), [(3, 2)]);
    }

    #[test]
    fn unknown_precision_has_no_twin() {
        let mut sides = [
            side(0, "builtin/cpu", Format::Tflite, Precision::Fp32),
            side(1, "builtin/cpu", Format::Onnx, Precision::Fp32),
        ];
        sides.iter_mut().for_each(|s| s.precision = None);
        assert_eq!(pairs(&contrasts(&sides, BOTH), ContrastKind::Format), []);
        sides.iter_mut().for_each(|s| s.reference = Some(9));
        assert_eq!(contrasts(&sides, &[ContrastKind::Reference]), [], "no case of the reference");
    }
}
