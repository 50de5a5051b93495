//! Elementary functions in f32 without branches, calls or fused multiply-add, so that a loop over them becomes vectors
//! on every tier and gives the same bits on all of them. Within 2 units in the last place, [`erf`] within 5e-7.

use super::quant::{max, min};

/// 1.5 · 2²³: adding and taking it away rounds to the nearest integer.
const MAGIC: f32 = 12_582_912.0;

/// eˣ as (e^r − 1, n) with x = n ln 2 + r.
#[inline(always)]
fn parts(x: f32) -> (f32, f32) {
    let n = (x * std::f32::consts::LOG2_E + MAGIC) - MAGIC;
    // ln 2 in two parts, the first of few bits, so that its product is exact.
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_6e-1, 0.5] {
        p = p * r + c;
    }
    (p * (r * r) + r, n)
}

/// 2ⁿ for whole n from −126 to 127.
#[inline(always)]
fn power(n: f32) -> f32 {
    f32::from_bits(((n + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127)) << 23)
}

/// Between two numbers; NaN stays.
#[inline(always)]
fn cut(x: f32, low: f32, high: f32) -> f32 {
    // The operands' order keeps NaN.
    min(high, max(low, x))
}

/// eˣ
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let (m, n) = parts(cut(x, -104.0, 89.0));
    // In two factors: the result may be subnormal, or infinite.
    let half = (n * 0.5 + MAGIC) - MAGIC;
    (m + 1.0) * power(half) * power(n - half)
}

/// 1 / (1 + e⁻ˣ)
#[inline(always)]
pub(crate) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// tanh x
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let m = exp_m1(cut(x + x, -30.0, 30.0));
    m / (m + 2.0)
}

/// eˣ − 1 for x of at most 87 in magnitude.
#[inline(always)]
pub(crate) fn exp_m1(x: f32) -> f32 {
    let (m, n) = parts(cut(x, -87.0, 87.0));
    let scale = power(n);
    m * scale + (scale - 1.0)
}

/// The error function, as a quotient of polynomials.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let x = cut(x, -4.0, 4.0);
    let square = x * x;
    let mut p = -2.726_142_3e-10;
    for c in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_6e-5, -7.349_906e-4, -2.954_6e-3, -1.609_603_3e-2] {
        p = p * square + c;
    }
    let mut q = -1.456_607_2e-5;
    for c in [-2.133_740_5e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2] {
        q = q * square + c;
    }
    x * p / q
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(name: &str, f: fn(f32) -> f32, real: fn(f64) -> f64, low: f32, high: f32, tolerance: f64) {
        for i in 0..=200_000 {
            let x = low + (high - low) * i as f32 / 200_000.0;
            let (y, exact) = (f64::from(f(x)), real(f64::from(x)));
            assert!((y - exact).abs() <= tolerance * exact.abs(), "{name}({x}) = {y}, not {exact}");
        }
    }

    #[test]
    fn functions_are_near() {
        close("exp", exp, f64::exp, -87.0, 88.7, 2.4e-7);
        close("tanh", tanh, f64::tanh, -20.0, 20.0, 2.4e-7);
        close("tanh", tanh, f64::tanh, 1e-6, 1e-3, 2.4e-7);
        close("logistic", logistic, |x| 1.0 / (1.0 + (-x).exp()), -80.0, 80.0, 2.4e-7);
        close("exp_m1", exp_m1, f64::exp_m1, -20.0, 0.0, 2.4e-7);
    }

    #[test]
    fn ends_of_the_range() {
        assert_eq!(
            [f32::NEG_INFINITY, -200.0, 0.0, 90.0, f32::INFINITY].map(exp),
            [0.0, 0.0, 1.0, f32::INFINITY, f32::INFINITY]
        );
        assert!(exp(-100.0) > 0.0);
        assert_eq!([-50.0, 0.0, 50.0].map(tanh), [-1.0, 0.0, 1.0]);
        assert_eq!([f32::NEG_INFINITY, 0.0, f32::INFINITY].map(logistic), [0.0, 0.5, 1.0]);
        assert!([exp, tanh, logistic, exp_m1, erf].iter().all(|f| f(f32::NAN).is_nan()));
        for (x, y) in
            [(0.0f32, 0.0f32), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (-2.0, -0.995_322_3), (9.0, 1.0)]
        {
            assert!((erf(x) - y).abs() < 5e-7, "erf({x})");
        }
    }
}
