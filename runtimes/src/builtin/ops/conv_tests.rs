//! Convolutions of random shapes against the definition, on every tier.

use super::product::factors;
use super::{Clamp, Conv2d, DepthwiseConv2d, Dynamic, FullyConnected, Window};
use crate::builtin::testing::{Given, Numbers, exact, near, quantized};
use protocol::DType;

/// A random convolution, grouped or depthwise.
#[derive(Clone, Debug)]
struct Case {
    x: [usize; 4],
    kernel: [usize; 2],
    channels: usize,
    groups: usize,
    depthwise: bool,
    window: Window,
}

impl Case {
    fn random(n: &mut Numbers, depthwise: bool) -> Self {
        let groups = if depthwise { 1 } else { n.size(1, 3).max(2) - 1 };
        let (kernel, dilation) = ([n.size(1, 3), n.size(1, 4)], [n.size(1, 2), n.size(1, 2)]);
        let stride = [n.size(1, 2), n.size(1, 3)];
        let (c, m) = (groups * n.size(1, 20), n.size(1, 3));
        let x = [n.size(1, 2), n.size(3, 9), n.size(4, 9), c];
        let window = Window::same([x[1], x[2]], kernel, stride, dilation).unwrap();
        let valid = Window { stride, dilation, ..Window::default() };
        let fits = valid.output([x[1], x[2]], kernel).is_ok();
        let window = if fits && n.size(0, 2) == 0 { valid } else { window };
        let channels = if depthwise { c * m } else { groups * n.size(1, 40) };
        Self { x, kernel, channels, groups, depthwise, window }
    }

    fn weights_shape(&self) -> [usize; 4] {
        let [kh, kw] = self.kernel;
        if self.depthwise {
            [1, kh, kw, self.channels]
        } else {
            [self.channels, kh, kw, self.x[3] / self.groups]
        }
    }

    /// Sums by the definition; `x` and `w` read an element.
    fn sums(&self, x: impl Fn(usize) -> f64, w: impl Fn(usize) -> f64) -> Vec<f64> {
        let ([n, h, wide, c], [kh, kw]) = (self.x, self.kernel);
        let [oh, ow] = self.window.output([h, wide], self.kernel).unwrap();
        let (each, per_group) = (c / self.groups, self.channels / self.groups);
        let mut sums = Vec::new();
        for at in 0..n * oh * ow * self.channels {
            let (o, ox, oy, b) = (
                at % self.channels,
                at / self.channels % ow,
                at / self.channels / ow % oh,
                at / self.channels / ow / oh,
            );
            let mut sum = 0.0;
            for (ky, kx) in (0..kh).flat_map(|y| (0..kw).map(move |x| (y, x))) {
                let y = (oy * self.window.stride[0] + ky * self.window.dilation[0])
                    .checked_sub(self.window.before[0]);
                let xx = (ox * self.window.stride[1] + kx * self.window.dilation[1])
                    .checked_sub(self.window.before[1]);
                let (Some(y), Some(xx)) = (y.filter(|y| *y < h), xx.filter(|x| *x < wide)) else { continue };
                let pixel = ((b * h + y) * wide + xx) * c;
                if self.depthwise {
                    let m = self.channels / c;
                    sum += x(pixel + o / m) * w((ky * kw + kx) * self.channels + o);
                } else {
                    let first = o / per_group * each;
                    for k in 0..each {
                        sum += x(pixel + first + k) * w(((o * kh + ky) * kw + kx) * each + k);
                    }
                }
            }
            sums.push(sum);
        }
        sums
    }

    fn op(&self, clamp: Clamp, dynamic: Dynamic) -> super::Op {
        let Self { window, groups, .. } = *self;
        if self.depthwise {
            DepthwiseConv2d { window, clamp, dynamic }.into()
        } else {
            Conv2d { window, groups, clamp, dynamic }.into()
        }
    }

    fn axis(&self) -> u32 {
        if self.depthwise { 3 } else { 0 }
    }
}

fn cases(count: u64) -> impl Iterator<Item = (Numbers, Case)> {
    (0..count * 2).map(|seed| {
        let mut n = Numbers::new(seed + 1);
        let case = Case::random(&mut n, seed % 2 == 0);
        (n, case)
    })
}

#[test]
fn floats_are_near_the_definition() {
    for (mut n, case) in cases(60) {
        let (x, w) = (n.f32s(case.x.iter().product()), n.f32s(case.weights_shape().iter().product()));
        let bias = n.f32s(case.channels);
        let sums = case.sums(|i| f64::from(x[i]), |i| f64::from(w[i]));
        let clamp = Clamp { min: -0.7, max: 1.5 };
        let expected: Vec<f32> =
            sums.iter().enumerate().map(|(i, s)| clamp.apply(*s as f32 + bias[i % case.channels])).collect();
        let operands = [
            Given::input(&case.x, &x),
            Given::constant(&case.weights_shape(), &w),
            Given::constant(&[case.channels], &bias),
        ];
        near(case.op(clamp, Dynamic::PerRow), &operands, &expected, 1e-5);
    }
}

fn requantized(sum: f64, scale: f32, zero: i32, low: i32, high: i32) -> i32 {
    let scaled = sum as f32 * scale;
    (f64::from(scaled.clamp(-1e6, 1e6)).round_ties_even() as i32 + zero).clamp(low, high)
}

#[test]
fn bytes_have_the_bits_of_the_definition() {
    for (mut n, case) in cases(60) {
        let (count, weights) = (case.x.iter().product(), case.weights_shape().iter().product());
        let per_channel = n.size(0, 1) == 1;
        let scales: Vec<f32> =
            (0..if per_channel { case.channels } else { 1 }).map(|_| n.size(1, 99) as f32 / 1e4).collect();
        let bias: Vec<i32> = (0..case.channels).map(|_| n.between(-9000, 9000) as i32).collect();
        let w = n.i8s(weights);
        let zeros = vec![0; scales.len()];
        let (zx, zy) = (n.between(-128, 127) as i32, n.between(-128, 127) as i32);
        let factor = factors(0.05, &scales, 0.3);
        let x = n.i8s(count);
        let sums = case.sums(|i| f64::from(i32::from(x[i]) - zx), |i| f64::from(w[i]));
        let clamp = if n.size(0, 1) == 0 { Clamp::NONE } else { Clamp::RELU6 };
        let (low, high) = clamp.quantized::<i8>(0.3, zy);
        let expected: Vec<i8> = sums
            .iter()
            .enumerate()
            .map(|(i, s)| {
                let c = i % case.channels;
                requantized(s + f64::from(bias[c]), factor[if per_channel { c } else { 0 }], zy, low, high)
                    as i8
            })
            .collect();
        let operands = [
            Given::input(&case.x, &x).quantized(&[0.05], &[zx], 0),
            Given::constant(&case.weights_shape(), &w).quantized(&scales, &zeros, case.axis()),
            Given::constant(&[case.channels], &bias),
        ];
        let got: Vec<i8> = exact(case.op(clamp, Dynamic::PerRow), &operands, quantized(DType::I8, 0.3, zy));
        assert_eq!(got, expected, "{case:?}");
    }
}

#[test]
fn unsigned_bytes_and_biases_beyond_f32() {
    for (mut n, case) in cases(20) {
        let (count, weights) = (case.x.iter().product(), case.weights_shape().iter().product());
        let bias: Vec<i32> = (0..case.channels).map(|_| (1 << 25) + n.between(-9000, 9000) as i32).collect();
        let (x, w) = (n.u8s(count), n.i8s(weights));
        let sums = case.sums(|i| f64::from(i32::from(x[i]) - 7), |i| f64::from(w[i]));
        let factor = factors(0.05, &[1e-7], 0.3)[0];
        let expected: Vec<u8> = sums
            .iter()
            .enumerate()
            .map(|(i, s)| requantized(s + f64::from(bias[i % case.channels]), factor, 100, 0, 255) as u8)
            .collect();
        let operands = [
            Given::input(&case.x, &x).quantized(&[0.05], &[7], 0),
            Given::constant(&case.weights_shape(), &w).quantized(&[1e-7], &[0], 0),
            Given::constant(&[case.channels], &bias),
        ];
        let got: Vec<u8> =
            exact(case.op(Clamp::NONE, Dynamic::PerRow), &operands, quantized(DType::U8, 0.3, 100));
        assert_eq!(got, expected, "{case:?}");
    }
}

#[test]
fn words_are_near_the_definition_and_the_same_everywhere() {
    for (mut n, mut case) in cases(20) {
        case.groups = 1;
        let (count, weights) = (case.x.iter().product(), case.weights_shape().iter().product());
        let x: Vec<i16> = (0..count).map(|_| n.between(-32768, 32767) as i16).collect();
        let w = n.i8s(weights);
        let sums = case.sums(|i| f64::from(x[i]), |i| f64::from(w[i]));
        let operands = [
            Given::input(&case.x, &x).quantized(&[1e-4], &[0], 0),
            Given::constant(&case.weights_shape(), &w).quantized(&[0.01], &[0], 0),
        ];
        let got: Vec<i16> =
            exact(case.op(Clamp::NONE, Dynamic::PerRow), &operands, quantized(DType::I16, 0.02, 0));
        for (got, sum) in got.iter().zip(sums) {
            // 16 bits of the multiplier: up to 2^-16 of the result.
            let real = sum * 1e-4 * 0.01 / 0.02;
            assert!((f64::from(*got) - real.clamp(-32768.0, 32767.0)).abs() <= 0.51 + real.abs() / 32768.0);
        }
    }
}

#[test]
fn dynamic_is_near_what_it_stands_for() {
    for dynamic in [Dynamic::PerRow, Dynamic::PerTensorU8] {
        for (mut n, case) in cases(20) {
            let (count, weights) = (case.x.iter().product(), case.weights_shape().iter().product());
            let (x, w, bias) = (n.f32s(count), n.i8s(weights), n.f32s(case.channels));
            let sums = case.sums(|i| f64::from(x[i]), |i| f64::from(w[i]) * 0.02);
            let expected: Vec<f32> =
                sums.iter().enumerate().map(|(i, s)| *s as f32 + bias[i % case.channels]).collect();
            let operands = [
                Given::input(&case.x, &x),
                Given::constant(&case.weights_shape(), &w).quantized(&[0.02], &[0], 0),
                Given::constant(&[case.channels], &bias),
            ];
            near(case.op(Clamp::NONE, dynamic), &operands, &expected, 0.03);
        }
    }
}

#[test]
fn fully_connected_rows() {
    let mut n = Numbers::new(5);
    for _ in 0..30 {
        let (rows, depth, channels) = (n.size(1, 9), n.size(1, 70), n.size(1, 40));
        let (x, w, bias) = (n.f32s(rows * depth), n.f32s(channels * depth), n.f32s(channels));
        let mut expected = Vec::new();
        for (r, c) in (0..rows).flat_map(|r| (0..channels).map(move |c| (r, c))) {
            let dot: f64 =
                (0..depth).map(|k| f64::from(x[r * depth + k]) * f64::from(w[c * depth + k])).sum();
            expected.push(dot as f32 + bias[c]);
        }
        let op = FullyConnected { keep_dims: false, clamp: Clamp::NONE, dynamic: Dynamic::PerRow };
        let operands = [
            Given::input(&[rows, depth], &x),
            Given::constant(&[channels, depth], &w),
            Given::constant(&[channels], &bias),
        ];
        near(op, &operands, &expected, 1e-5);
    }
}
