//! The exponential, logistic and hyperbolic tangent functions in 16-bit fixed point, to the last bit as the
//! runtime of TFLite computes them: polynomials, tables of powers and Newton's division, every product rounded.
//!
//! A number with `n` integer bits is the stored integer times 2^(n − 15).

/// Most integer bits that an operand of [`tanh`] may have.
pub(crate) const MAX_INTEGER_BITS: i32 = 6;

const ONE: i16 = i16::MAX;
/// 48/17, −32/17 and 1 with two integer bits: the start of Newton's division, and its aim.
const START: i16 = 23_130;
const SLOPE: i16 = -15_420;
const ONE_2: i16 = 1 << 13;

/// The logistic function of a number with 3 integer bits; the result has none.
pub(crate) fn logistic(x: i16) -> i16 {
    let positive = |negated: i16| {
        // 1 / (1 + e⁻ˣ)
        doubled(newton(half_sum(exponential(negated, 3))), 1)
    };
    match x {
        0 => 1 << 14,
        x if x > 0 => positive(x.wrapping_neg()),
        x => ONE.wrapping_sub(positive(x)),
    }
}

/// The hyperbolic tangent of a number with so many integer bits, at most [`MAX_INTEGER_BITS`]; the result has none.
pub(crate) fn tanh(x: i16, integer_bits: i32) -> i16 {
    // (1 − e⁻²ˣ) / (1 + e⁻²ˣ): doubling is one integer bit more
    let negative = if x < 0 { x } else { -x };
    let t = doubled(newton(half_sum(exponential(negative, integer_bits + 1))).wrapping_sub(ONE_2), 2);
    match x {
        0 => 0,
        x if x < 0 => t.wrapping_neg(),
        _ => t,
    }
}

/// eˣ of x ≤ 0 with so many integer bits, without any.
fn exponential(x: i16, integer_bits: i32) -> i16 {
    /// e to the power of −2ⁿ for n from −2 on.
    const POWERS: [i32; 7] =
        [1_672_461_947, 1_302_514_674, 790_015_084, 290_630_308, 39_332_535, 720_401, 242];
    if x == 0 {
        return ONE;
    }
    let fraction_bits = 15 - integer_bits;
    if integer_bits > 5 && i32::from(x) < -(1 << (fraction_bits + 5)) {
        return 0;
    }
    let quarter = 1i16 << (fraction_bits - 2);
    // A quarter at most is left to the polynomial, the rest is powers of two.
    let part = (x & (quarter - 1)).wrapping_sub(quarter);
    let rest = part.wrapping_sub(x);
    let mut result = of_quarter(doubled(part, integer_bits));
    for (power, exponent) in POWERS.into_iter().zip(-2..) {
        if integer_bits > exponent && rest & (1 << (fraction_bits + exponent)) != 0 {
            result = product(result, constant(power));
        }
    }
    result
}

/// eˣ of −1/4 ≤ x < 0: Taylor's series around −1/8.
fn of_quarter(x: i16) -> i16 {
    let (at, third) = (constant(1_895_147_668), constant(715_827_883));
    let x = x.wrapping_add(1 << 12);
    let x2 = product(x, x);
    let (x3, x4) = (product(x2, x), product(x2, x2));
    let higher = product(divided(x4, 2).wrapping_add(x3), third).wrapping_add(x2);
    at.saturating_add(product(at, x.wrapping_add(divided(higher, 1))))
}

/// (x + 1) / 2
fn half_sum(x: i16) -> i16 {
    let sum = i32::from(x) + i32::from(ONE);
    ((sum + if sum >= 0 { 1 } else { -1 }) / 2) as i16
}

/// 1 / x of 1/2 ≤ x ≤ 1, with two integer bits.
fn newton(x: i16) -> i16 {
    let mut inverse = START.wrapping_add(product(x, SLOPE));
    for _ in 0..3 {
        let missing = ONE_2.wrapping_sub(product(x, inverse));
        inverse = inverse.wrapping_add(doubled(product(inverse, missing), 2));
    }
    inverse
}

/// A constant of 32 bits in 16.
fn constant(x: i32) -> i16 {
    divided_32(x, 16) as i16
}

/// The high half of 2ab, to the nearest.
fn product(a: i16, b: i16) -> i16 {
    if a == i16::MIN && b == i16::MIN {
        return i16::MAX;
    }
    let product = i32::from(a) * i32::from(b);
    let nudge = if product >= 0 { 1 << 14 } else { 1 - (1 << 14) };
    ((product + nudge) / (1 << 15)) as i16
}

/// x · 2ⁿ, cut to 16 bits.
fn doubled(x: i16, n: i32) -> i16 {
    (i32::from(x) << n).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

fn divided(x: i16, n: u32) -> i16 {
    divided_32(i32::from(x), n) as i16
}

/// x / 2ⁿ to the nearest, ties away from zero; n is at most 31.
pub(crate) fn divided_32(x: i32, n: u32) -> i32 {
    let mask = (1i64 << n) - 1;
    let (x, rest) = (i64::from(x), i64::from(x) & mask);
    ((x >> n) + i64::from(rest > (mask >> 1) + i64::from(x < 0))) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_their_functions() {
        for x in i16::MIN..=i16::MAX {
            let real = f64::from(x) / 4096.0;
            let got = f64::from(logistic(x)) / 32768.0;
            assert!((got - 1.0 / (1.0 + (-real).exp())).abs() < 1e-3, "logistic {real}: {got}");
            for bits in 0..=MAX_INTEGER_BITS {
                let real = f64::from(x) / f64::from(1 << (15 - bits));
                let got = f64::from(tanh(x, bits)) / 32768.0;
                assert!((got - real.tanh()).abs() < 2e-3, "tanh {real} with {bits}: {got}");
            }
        }
    }

    #[test]
    fn rounding() {
        assert_eq!([-6, -2, 2, 6].map(|x| divided_32(x, 2)), [-2, -1, 1, 2]);
        assert_eq!((product(i16::MIN, i16::MIN), product(1 << 14, 1 << 14)), (i16::MAX, 1 << 13));
        assert_eq!((logistic(0), tanh(0, 3)), (1 << 14, 0));
        assert_eq!(
            (i32::from(START), i32::from(SLOPE)),
            (divided_32(1_515_870_810, 16), divided_32(-1_010_580_540, 16))
        );
    }
}
