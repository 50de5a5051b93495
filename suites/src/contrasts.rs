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
/// * [`ContrastKind::Reference`]: every case against its reference variant on the same runtime. Where that runtime
///   cannot run the reference, against the case there that has the precision of the reference; and where there is
///   none, against the first case of the reference.
/// * [`ContrastKind::Format`]: every ONNX case against every TFLite case of equal precision on the same
///   runtime. A case without a known precision has none.
/// * [`ContrastKind::Runtime`]: every case against the first case of the same variant, which is on another runtime.
/// * [`ContrastKind::Stack`]: every ONNX case against every TFLite case of equal precision where both are on
///   runtimes that have cases of one format only.
///
/// A pair that several kinds name is listed under each.
pub fn contrasts(sides: &[Side], kinds: &[ContrastKind]) -> Vec<Contrast> {
    let mut found = Vec::new();
    for kind in ContrastKind::ALL.into_iter().filter(|k| kinds.contains(k)) {
        for (candidate, side) in sides.iter().enumerate() {
            let partners = match kind {
                ContrastKind::Reference => reference_of(sides, candidate, side).into_iter().collect(),
                ContrastKind::Format => twins_of(sides, side, |other| other.runtime == side.runtime),
                ContrastKind::Runtime => first_of(sides, candidate, side).into_iter().collect(),
                ContrastKind::Stack => twins_of(sides, side, |other| {
                    has_one_format(sides, &side.runtime) && has_one_format(sides, &other.runtime)
                }),
            };
            found.extend(partners.into_iter().map(|reference| Contrast { kind, candidate, reference }));
        }
    }
    found
}

fn reference_of(sides: &[Side], candidate: usize, side: &Side) -> Option<usize> {
    let reference = side.reference?;
    let first = sides.iter().position(|s| s.variant == reference)?;
    let precision = sides.get(first)?.precision;
    let here = |s: &Side| s.runtime == side.runtime;
    let same = sides.iter().position(|s| here(s) && s.variant == reference);
    let like = || precision.and(sides.iter().position(|s| here(s) && s.precision == precision));
    match same.or_else(like) {
        // what stands for the reference on this runtime is compared across runtimes
        Some(stand_in) if stand_in == candidate => None,
        Some(stand_in) => Some(stand_in),
        None => Some(first),
    }
}

fn twins_of(sides: &[Side], side: &Side, related: impl Fn(&Side) -> bool) -> Vec<usize> {
    if side.format != Format::Onnx || side.precision.is_none() {
        return Vec::new();
    }
    let twin =
        |other: &Side| other.format == Format::Tflite && other.precision == side.precision && related(other);
    sides.iter().enumerate().filter(|(_, other)| twin(other)).map(|(index, _)| index).collect()
}

fn first_of(sides: &[Side], candidate: usize, side: &Side) -> Option<usize> {
    sides.iter().position(|other| other.variant == side.variant).filter(|first| *first != candidate)
}

fn has_one_format(sides: &[Side], runtime: &RuntimeId) -> bool {
    let mut formats = sides.iter().filter(|s| s.runtime == *runtime).map(|s| s.format);
    let first = formats.next();
    formats.all(|other| Some(other) == first)
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
    fn what_a_format_and_what_its_kernels_cost_are_told_apart() {
        let (tflite, onnx) = (Format::Tflite, Format::Onnx);
        let (fp32, int8) = (Precision::Fp32, Precision::Int8);
        let sides = [
            side(0, "builtin/cpu", tflite, fp32),
            side(1, "builtin/cpu", tflite, int8),
            side(2, "builtin/cpu", onnx, fp32),
            side(3, "builtin/cpu", onnx, int8),
            side(0, "litert/xnnpack", tflite, fp32),
            side(1, "litert/xnnpack", tflite, int8),
            side(2, "onnxruntime/cpu", onnx, fp32),
            side(3, "onnxruntime/cpu", onnx, int8),
        ];
        let found = contrasts(&sides, &ContrastKind::ALL);
        let of = |kind| pairs(&found, kind);
        // on ONNX Runtime, which does not run the reference, the ONNX variant of its precision stands for it
        assert_eq!(of(ContrastKind::Reference), [(1, 0), (2, 0), (3, 0), (5, 4), (7, 6)]);
        assert_eq!(of(ContrastKind::Format), [(2, 0), (3, 1)]);
        assert_eq!(of(ContrastKind::Runtime), [(4, 0), (5, 1), (6, 2), (7, 3)]);
        assert_eq!(of(ContrastKind::Stack), [(6, 4), (7, 5)]);
    }

    #[test]
    fn a_runtime_with_nothing_like_the_reference_compares_with_the_first() {
        let sides = [
            side(0, "litert/xnnpack", Format::Tflite, Precision::Fp32),
            side(1, "onnxruntime/cpu", Format::Onnx, Precision::Int8),
        ];
        let found = contrasts(&sides, &ContrastKind::ALL);
        assert_eq!(pairs(&found, ContrastKind::Reference), [(1, 0)]);
        assert_eq!(pairs(&found, ContrastKind::Stack), []);
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
