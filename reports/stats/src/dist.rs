//! Distributions: normal, Student's t, binomial, beta. Total functions: outside of its range a function
//! answers NaN, never a panic. Degrees of freedom, trials and parameters go up to 1e9.

use crate::special::{MAX_PARAMETER, beta_both, binomial_density, front_factor};
use statrs::function::erf::{erfc, erfc_inv};
use std::f64::consts::SQRT_2;

/// P(Z > z) for a standard normal Z.
pub fn normal_sf(z: f64) -> f64 {
    0.5 * erfc(z / SQRT_2)
}

/// The z with P(Z ≤ z) = `p`; NaN outside of [0, 1].
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    -SQRT_2 * erfc_inv(2.0 * p)
}

/// P(T > t) for Student's t with `df` > 0 degrees of freedom.
pub fn t_sf(t: f64, df: f64) -> f64 {
    if t.is_infinite() {
        return if t > 0.0 { 0.0 } else { 1.0 };
    }
    // far out, t² would overflow long before the tail is told apart from 0
    let t2 = (t * t).min(1e300);
    let tail = 0.5 * beta_both(0.5 * df, 0.5, df / (df + t2), t2 / (df + t2)).0;
    if t > 0.0 { tail } else { 1.0 - tail }
}

/// The t with P(T > t) = `p`, for 0 < p < 1; NaN outside.
pub fn t_quantile_upper(p: f64, df: f64) -> f64 {
    if !(p > 0.0 && p < 1.0 && df > 0.0 && df <= MAX_PARAMETER) {
        return f64::NAN;
    }
    if p > 0.5 {
        return -t_quantile_upper(1.0 - p, df);
    }
    let mut high = 1.0;
    while t_sf(high, df) > p && high < 1e150 {
        high *= 2.0;
    }
    // Newton on the logarithms of t and of the tail, nearly a straight line far out; halving where a step
    // would leave the bracket
    let (mut low, mut t) = (0.0, 0.5 * high);
    for _ in 0..200 {
        let tail = t_sf(t, df);
        if tail > p {
            low = t;
        } else {
            high = t;
        }
        let slope = t_front_factor(t, df) / tail;
        let newton = t * ((tail.ln() - p.ln()) / slope).exp();
        let next = if low < newton && newton < high { newton } else { 0.5 * (low + high) };
        if (next - t).abs() <= 1e-15 * t {
            break;
        }
        t = next;
    }
    t
}

/// t times the density of Student's t.
fn t_front_factor(t: f64, df: f64) -> f64 {
    let t2 = (t * t).min(1e300);
    front_factor(0.5 * df, 0.5, df / (df + t2), t2 / (df + t2))
}

/// P(X = k) for X binomial(n, p).
pub fn binomial_pmf(k: u64, n: u64, p: f64) -> f64 {
    if k > n || !(0.0..=1.0).contains(&p) {
        return if k > n { 0.0 } else { f64::NAN };
    }
    if k == 0 {
        return (n as f64 * (-p).ln_1p()).exp();
    }
    if k == n {
        return p.powf(n as f64);
    }
    binomial_density(k as f64, (n - k) as f64, p, 1.0 - p)
}

/// P(X ≤ k) for X binomial(n, p).
pub fn binomial_cdf(k: u64, n: u64, p: f64) -> f64 {
    if k >= n {
        return if (0.0..=1.0).contains(&p) { 1.0 } else { f64::NAN };
    }
    beta_both(k as f64 + 1.0, (n - k) as f64, p, 1.0 - p).1
}

/// P(X > k) for X binomial(n, p).
pub fn binomial_sf(k: u64, n: u64, p: f64) -> f64 {
    if k >= n {
        return if (0.0..=1.0).contains(&p) { 0.0 } else { f64::NAN };
    }
    beta_both(k as f64 + 1.0, (n - k) as f64, p, 1.0 - p).0
}

/// The x with P(B ≤ x) = `p` for B beta(a, b); NaN outside of the range of any argument.
pub fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    if !((0.0..=1.0).contains(&p) && beta_both(a, b, 0.5, 0.5).0.is_finite()) {
        return f64::NAN;
    }
    // searched from the end it is near to, where floating point is dense
    if a <= b { beta_search(p, 1.0 - p, a, b) } else { 1.0 - beta_search(1.0 - p, p, b, a) }
}

/// The x with P(B > x) = `p`: as [`beta_quantile`] of 1 − p, without its loss where `p` is small.
pub(crate) fn beta_quantile_upper(p: f64, a: f64, b: f64) -> f64 {
    if a <= b { beta_search(1.0 - p, p, a, b) } else { 1.0 - beta_search(p, 1.0 - p, b, a) }
}

fn beta_search(lower: f64, upper: f64, a: f64, b: f64) -> f64 {
    if lower == 0.0 || upper == 0.0 {
        return if lower == 0.0 { 0.0 } else { 1.0 };
    }
    // the small tail is compared, never 1 minus it
    if lower <= upper {
        bisect(0.0, 1.0, |x| beta_both(a, b, x, 1.0 - x).0 < lower)
    } else {
        bisect(0.0, 1.0, |x| beta_both(a, b, x, 1.0 - x).1 > upper)
    }
}

/// Where `below` turns from true to false, to the last bit that halving reaches.
pub(crate) fn bisect(mut low: f64, mut high: f64, below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..2000 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}
