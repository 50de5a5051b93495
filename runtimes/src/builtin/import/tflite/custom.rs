//! Custom operators: those of MediaPipe, and the post-processing of detectors that LiteRT itself brings.

use super::flex::Map;
use super::importer::{Importer, invalid};
use super::schema::Operator;
use crate::builtin::ops::{
    Binary, BinaryKind, Clamp, Concat, Detections, LandmarkMatrix, MatMul, Op, Slice, SliceRange,
    TransposeConv2d, Warp, Window,
};
use crate::{Error, Result};

/// Most points, boxes or pixels along a side that attributes may state.
const MAX_SIZE: i64 = 1 << 20;

impl Importer<'_, '_> {
    /// Adds the nodes of a custom operator.
    pub(super) fn custom(&mut self, op: &Operator<'_>, name: &str) -> Result<()> {
        match name {
            "CUSTOM(Convolution2DTransposeBias)" => self.transpose_conv_bias(op),
            "CUSTOM(Landmarks2TransformMatrix)" => self.landmark_matrix(op),
            "CUSTOM(TransformTensorBilinear)" => self.warp(op),
            "CUSTOM(TransformLandmarks)" => self.transform_landmarks(op),
            "CUSTOM(TFLite_Detection_PostProcess)" => self.detections(op),
            _ => Err(Error::Unsupported("a custom operator needs the runtime that defines it".to_owned())),
        }
    }

    /// Operands: input, weights, bias. Attributes: padding (1 same, 2 valid), strides along width and height.
    fn transpose_conv_bias(&mut self, operator: &Operator<'_>) -> Result<()> {
        let number = |i: usize| {
            let bytes = operator.custom_options.get(4 * i..4 * i + 4).and_then(|b| b.try_into().ok());
            let value = bytes.map(i32::from_le_bytes).and_then(|v| usize::try_from(v).ok());
            value
                .filter(|v| (1..=1024).contains(v))
                .ok_or_else(|| invalid("attributes that do not fit".to_owned()))
        };
        let (same, stride) = (number(0)? == 1, [number(2)?, number(1)?]);
        let values = self.operands(operator)?;
        let dims = |i: usize| -> Result<[usize; 2]> {
            match values.get(i).map(|v| self.graph.shape(*v)) {
                Some(&[_, h, w, _]) => Ok([h, w]),
                other => Err(invalid(format!("4 dimensions are needed, not {other:?}"))),
            }
        };
        let (input, kernel) = (dims(0)?, dims(1)?);
        let length = |i: usize| {
            let steps = input[i].saturating_mul(stride[i]);
            if same { steps } else { steps.saturating_add(kernel[i]).saturating_sub(stride[i]) }
        };
        let output = [length(0), length(1)];
        let inverse = if same { Window::same(output, kernel, stride, [1, 1])? } else { Window::default() };
        let (before, clamp) = (inverse.before, Clamp::NONE);
        self.compute(operator, TransposeConv2d { stride, dilation: [1, 1], before, output, clamp }, &values)
    }

    fn landmark_matrix(&mut self, operator: &Operator<'_>) -> Result<()> {
        let given = attributes(operator)?;
        let subset = given.integers("subset_idxs").ok_or_else(|| missing("subset_idxs"))?;
        let subset = subset.into_iter().map(|i| size(i, "subset_idxs")).collect::<Result<Vec<_>>>()?;
        let integer = |name| size(given.integer(name).ok_or_else(|| missing(name))?, name);
        let number = |name| given.number(name).ok_or_else(|| missing(name));
        let op = LandmarkMatrix {
            line: [integer("left_rotation_idx")?, integer("right_rotation_idx")?],
            rotation: given.number("target_rotation_radians").unwrap_or(0.0),
            subset,
            size: [integer("output_width")?.max(1) as f32, integer("output_height")?.max(1) as f32],
            scale: [number("scale_x")?, number("scale_y")?],
        };
        let x = self.operand(operator, 0)?;
        self.compute(operator, op, &[x])
    }

    fn warp(&mut self, operator: &Operator<'_>) -> Result<()> {
        let given = attributes(operator)?;
        let length = |name| size(given.integer(name).ok_or_else(|| missing(name))?, name);
        let output = [length("output_height")?, length("output_width")?];
        let values = self.operands(operator)?;
        self.compute(operator, Warp { output }, &values)
    }

    /// Operands: points and a matrix, whose first two rows apply to x, y, 0, 1.
    fn transform_landmarks(&mut self, operator: &Operator<'_>) -> Result<()> {
        let (x, m) = (self.operand(operator, 0)?, self.operand(operator, 1)?);
        let (points, matrix) = (self.graph.shape(x).to_vec(), self.graph.shape(m).to_vec());
        let &[1, _, width @ (2 | 3)] = &points[..] else {
            return Err(invalid(format!("points of shape {points:?}")));
        };
        if matrix != [1, 4, 4] {
            return Err(invalid(format!("a matrix of shape {matrix:?}")));
        }
        let range = |start: usize, count: usize| SliceRange { start, count, step: 1 };
        let part = |ranges: [SliceRange; 3]| Slice { ranges: ranges.to_vec() };
        let all = range(0, points[1]);
        let turn = self.step(operator, part([range(0, 1), range(0, 2), range(0, 2)]), &[m])?;
        let shift = self.step(operator, part([range(0, 1), range(0, 2), range(3, 1)]), &[m])?;
        let shift = self.reshaped(operator, shift, &[1, 1, 2])?;
        let flat = self.step(operator, part([range(0, 1), all, range(0, 2)]), &[x])?;
        let turned = self.step(operator, MatMul { transpose_a: false, transpose_b: true }, &[flat, turn])?;
        let add = Binary::new(BinaryKind::Add);
        if width == 2 {
            return self.compute(operator, add, &[turned, shift]);
        }
        let moved = self.step(operator, add, &[turned, shift])?;
        let depth = self.step(operator, part([range(0, 1), all, range(2, 1)]), &[x])?;
        self.compute(operator, Concat { axis: 2 }, &[moved, depth])
    }

    fn detections(&mut self, operator: &Operator<'_>) -> Result<()> {
        let given = attributes(operator)?;
        let integer = |name| size(given.integer(name).ok_or_else(|| missing(name))?, name);
        let number = |name| given.number(name).ok_or_else(|| missing(name));
        let regular = given.integer("use_regular_nms").is_some_and(|v| v != 0);
        if !regular && integer("max_classes_per_detection")? != 1 {
            return Err(Error::Unsupported("several classes per detection".to_owned()));
        }
        let per_class =
            given.integer("detections_per_class").map_or(Ok(100), |v| size(v, "detections_per_class"))?;
        let scale = [number("y_scale")?, number("x_scale")?, number("h_scale")?, number("w_scale")?];
        let op = Detections {
            most: integer("max_detections")?,
            classes: integer("num_classes")?,
            per_class: regular.then_some(per_class),
            score: number("nms_score_threshold")?,
            overlap: number("nms_iou_threshold")?,
            scale,
        };
        let values = self.operands(operator)?;
        let names = (0..4).map(|i| Ok(self.tensor(self.result(operator, i)?)?.name.to_string()));
        let names = names.collect::<Result<Vec<_>>>()?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let results = self.graph.add_node(&names, Op::from(op), &values, &[None, None, None, None])?;
        operator.outputs.iter().zip(results).for_each(|(index, value)| self.set(*index, value));
        Ok(())
    }
}

fn attributes<'a>(operator: &Operator<'a>) -> Result<Map<'a>> {
    let map = Map::read(operator.custom_options);
    map.ok_or_else(|| invalid("attributes that are no map".to_owned()))
}

fn missing(name: &str) -> Error {
    invalid(format!("attribute {name} is missing"))
}

fn size(value: i64, name: &str) -> Result<usize> {
    let fits = usize::try_from(value).ok().filter(|_| value <= MAX_SIZE);
    fits.ok_or_else(|| invalid(format!("attribute {name} is {value}")))
}
