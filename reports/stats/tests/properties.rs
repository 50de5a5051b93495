//! What must hold for any data: order does not matter, scale goes through, exchanging the sides mirrors
//! the answer, and nothing panics.

use proptest::prelude::*;
use stats::Rng;
use stats::sequential::{Call, Rule, look};
use stats::*;

fn differences() -> impl Strategy<Value = Vec<f64>> {
    // a coarse grid, so that ties and zeros are common
    prop::collection::vec((-40i32..=40).prop_map(|v| f64::from(v) / 32.0), 2..30)
}

fn shuffled(values: &[f64], seed: u64) -> Vec<f64> {
    let mut out = values.to_vec();
    Rng::new(seed).shuffle(&mut out);
    out
}

fn negated(values: &[f64]) -> Vec<f64> {
    values.iter().map(|v| -v).collect()
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-6)
}

fn mirrored(p: PValues) -> PValues {
    PValues { greater: p.less, less: p.greater, ..p }
}

fn same_p(a: PValues, b: PValues) -> bool {
    close(a.greater, b.greater) && close(a.less, b.less) && close(a.two_sided, b.two_sided)
}

/// Floats of every kind, the hostile ones often.
fn hostile() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        prop::sample::select(vec![
            f64::NAN,
            f64::INFINITY,
            -0.0,
            0.0,
            0.5,
            1.0,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324
        ]),
    ]
}

proptest! {
    // a failure prints its input: nothing is written beside the sources
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_does_not_matter(x in differences(), seed: u64) {
        let y = shuffled(&x, seed);
        prop_assert!(close(mean(&x).unwrap(), mean(&y).unwrap()));
        prop_assert!(close(standard_deviation(&x).unwrap(), standard_deviation(&y).unwrap()));
        prop_assert_eq!(median(&x), median(&y));
        prop_assert_eq!(mad(&x), mad(&y));
        prop_assert!(same_p(Paired::new(&x).unwrap().test(0.0), Paired::new(&y).unwrap().test(0.0)));
        prop_assert_eq!(wilcoxon_signed_rank(&x).unwrap(), wilcoxon_signed_rank(&y).unwrap());
        let ((a, i), (b, j)) = (hodges_lehmann(&x, 0.9).unwrap(), hodges_lehmann(&y, 0.9).unwrap());
        prop_assert!(close(a, b) && i.is_some() == j.is_some());
        if x.len() <= SIGN_FLIP_EXACT_MAX {
            prop_assert_eq!(sign_flip(&x, 1).unwrap(), sign_flip(&y, 2).unwrap());
        }
    }

    #[test]
    fn signs_mirror(x in differences()) {
        let y = negated(&x);
        let t = |x: &[f64]| Paired::new(x).unwrap();
        prop_assert!(same_p(t(&x).test(0.01), mirrored(t(&y).test(-0.01))));
        let (i, j) = (t(&x).interval(0.98).unwrap(), t(&y).interval(0.98).unwrap());
        prop_assert_eq!((i.low, i.high), (-j.high, -j.low));
        let w = |x: &[f64]| wilcoxon_signed_rank(x).unwrap().p;
        prop_assert!(same_p(w(&x), mirrored(w(&y))));
        let h = |x: &[f64]| hodges_lehmann(x, 0.9).unwrap();
        prop_assert!(close(h(&x).0, -h(&y).0));
        if x.len() <= SIGN_FLIP_EXACT_MAX {
            prop_assert!(same_p(sign_flip(&x, 0).unwrap(), mirrored(sign_flip(&y, 0).unwrap())));
        }
        let rule = Rule::new(0.03, 0.01).unwrap();
        let mirror = match look(&y, &rule).unwrap().call {
            Call::Higher => Call::Lower,
            Call::Lower => Call::Higher,
            other => other,
        };
        prop_assert_eq!(look(&x, &rule).unwrap().call, mirror);
    }

    #[test]
    fn scale_goes_through(x in differences(), exponent in -20i32..20) {
        // a power of two, so that no rounding differs
        let k = 2f64.powi(exponent);
        let y: Vec<f64> = x.iter().map(|v| v * k).collect();
        prop_assert_eq!(mean(&x).unwrap() * k, mean(&y).unwrap());
        prop_assert_eq!(standard_deviation(&x).unwrap() * k, standard_deviation(&y).unwrap());
        prop_assert_eq!(mad(&x).unwrap() * k, mad(&y).unwrap());
        prop_assert_eq!(Paired::new(&x).unwrap().test(0.0), Paired::new(&y).unwrap().test(0.0));
        prop_assert_eq!(wilcoxon_signed_rank(&x).unwrap(), wilcoxon_signed_rank(&y).unwrap());
        prop_assert_eq!(hodges_lehmann(&x, 0.9).unwrap().0 * k, hodges_lehmann(&y, 0.9).unwrap().0);
        prop_assert!(close(effective_sample_size(&x).unwrap(), effective_sample_size(&y).unwrap()));
    }

    #[test]
    fn a_shift_of_both_sides_cancels(x in prop::collection::vec(1.0f64..100.0, 2..20), shift in 0.1f64..10.0) {
        let y: Vec<f64> = x.iter().map(|v| v * shift).collect();
        let z: Vec<f64> = x.iter().map(|v| v * shift * 1.5).collect();
        for ratio in log_ratios(&z, &y).unwrap() {
            prop_assert!((ratio - 1.5f64.ln()).abs() < 1e-12);
        }
    }

    #[test]
    fn tables_mirror(both in 0u64..500, lost in 0u64..60, gained in 0u64..60, neither in 1u64..100) {
        let table = PairedTable { both, lost, gained, neither };
        let back = table.swapped();
        prop_assert!(same_p(mcnemar_mid_p(&table).unwrap(), mirrored(mcnemar_mid_p(&back).unwrap())));
        prop_assert!(same_p(mcnemar_exact(&table).unwrap(), mirrored(mcnemar_exact(&back).unwrap())));
        let (i, j) = (tango_interval(&table, 0.98).unwrap(), tango_interval(&back, 0.98).unwrap());
        prop_assert!((i.interval.low + j.interval.high).abs() < 1e-9, "{:?} {:?}", i, j);
        prop_assert!(i.interval.contains(i.point));
        // the test and the interval are one: at its lower end the p-value is the tail
        if i.interval.low < 0.0 && i.interval.low > -1.0 {
            let p = tango_non_inferiority(&table, -i.interval.low).unwrap();
            prop_assert!((p - 0.01).abs() < 1e-6, "{}", p);
        }
    }

    #[test]
    fn intervals_nest(hits in 0u64..200, misses in 0u64..200) {
        prop_assume!(hits + misses > 0);
        let n = hits + misses;
        for method in [wilson, clopper_pearson] {
            let (narrow, wide) = (method(hits, n, 0.9).unwrap(), method(hits, n, 0.99).unwrap());
            prop_assert!(wide.interval.low <= narrow.interval.low && narrow.interval.high <= wide.interval.high);
            prop_assert!(0.0 <= wide.interval.low && wide.interval.high <= 1.0);
            prop_assert!(narrow.interval.contains(narrow.point));
        }
    }

    #[test]
    fn adjusted_p_values_never_shrink(p in prop::collection::vec(0.0f64..=1.0, 0..40)) {
        let (q, holm) = (benjamini_hochberg(&p).unwrap(), holm(&p).unwrap());
        for ((p, q), holm) in p.iter().zip(q).zip(holm) {
            // the last of the sorted list is multiplied by n/n
            prop_assert!(*p <= q * (1.0 + 1e-12) && q <= holm * (1.0 + 1e-12) && holm <= 1.0);
        }
    }

    #[test]
    fn areas_depend_on_ranks_alone(
        examples in prop::collection::vec((-8i32..8, -8i32..8, any::<bool>()), 4..60), seed: u64,
    ) {
        let positive: Vec<bool> = examples.iter().map(|e| e.2).collect();
        let side = |of: fn(&(i32, i32, bool)) -> i32| -> Vec<f64> { examples.iter().map(|e| f64::from(of(e))).collect() };
        let (a, b) = (side(|e| e.0), side(|e| e.1));
        let Ok(found) = delong(&a, &b, &positive) else { return Ok(()) };
        // any rising function of the scores
        let stretched: Vec<f64> = a.iter().map(|s| (s / 4.0).exp()).collect();
        prop_assert_eq!(delong(&stretched, &b, &positive).unwrap(), found);
        // sides exchanged
        let back = delong(&b, &a, &positive).unwrap();
        prop_assert!(close(back.difference, -found.difference) && close(back.standard_error, found.standard_error));
        prop_assert!(same_p(found.test(0.01), mirrored(back.test(-0.01))));
        // scores and classes turned round
        let opposite: Vec<bool> = positive.iter().map(|p| !p).collect();
        prop_assert!(close(delong(&negated(&a), &b, &opposite).unwrap().candidate.value, found.candidate.value));
        // order of the examples
        let mut order: Vec<usize> = (0..a.len()).collect();
        Rng::new(seed).shuffle(&mut order);
        let pick = |of: &[f64]| -> Vec<f64> { order.iter().map(|i| of[*i]).collect() };
        let mixed = delong(&pick(&a), &pick(&b), &order.iter().map(|i| positive[*i]).collect::<Vec<_>>()).unwrap();
        prop_assert!(close(mixed.difference, found.difference) && close(mixed.standard_error, found.standard_error));
    }

    #[test]
    fn evidence_does_not_know_order_scale_or_sign(x in differences(), seed: u64, exponent in -20i32..20) {
        let of = |x: &[f64]| t_log_e_value(x, 0.0, EFFECT_SCALE).unwrap();
        prop_assert!((of(&x) - of(&shuffled(&x, seed))).abs() < 1e-9);
        prop_assert_eq!(of(&x), of(&negated(&x)));
        let scaled: Vec<f64> = x.iter().map(|v| v * 2f64.powi(exponent)).collect();
        prop_assert_eq!(of(&x), of(&scaled));
        let paired = Paired::new(&x).unwrap();
        let interval = |level| t_e_interval(&paired, level, EFFECT_SCALE).unwrap();
        if let (Some(narrow), Some(wide)) = (interval(0.9), interval(0.99)) {
            prop_assert!(wide.low <= narrow.low && narrow.high <= wide.high && narrow.contains(paired.mean));
            // true at all times costs more than true once
            let once = paired.interval(0.9).unwrap();
            prop_assert!(narrow.half_width() >= once.half_width());
        }
    }

    #[test]
    fn changes_do_not_know_scale_or_direction(
        levels in prop::collection::vec(0i32..8, 1..5), noise in prop::collection::vec(-64i32..64, 8..80), exponent in -20i32..20,
    ) {
        let length = noise.len().div_ceil(levels.len());
        let level = |i: usize| f64::from(levels[i / length]);
        let x: Vec<f64> = noise.iter().enumerate().map(|(i, e)| 16.0 + level(i) + f64::from(*e) / 256.0).collect();
        let found = Pelt::REPORT.change_points(&x).unwrap();
        let scaled: Vec<f64> = x.iter().map(|v| v * 2f64.powi(exponent)).collect();
        prop_assert_eq!(&Pelt::REPORT.change_points(&scaled).unwrap(), &found);
        prop_assert_eq!(&Pelt::REPORT.change_points(&negated(&x)).unwrap(), &found);
        // ascending, and no level shorter than allowed
        let ends: Vec<usize> = [0].into_iter().chain(found.iter().copied()).chain([x.len()]).collect();
        prop_assert!(ends.windows(2).all(|w| w[0] + Pelt::REPORT.min_segment <= w[1]), "{:?}", ends);
        // a higher price never buys more changes
        let dearer = Pelt { penalty: 20.0, ..Pelt::REPORT };
        prop_assert!(dearer.change_points(&x).unwrap().len() <= found.len());
    }

    #[test]
    fn a_bound_lies_at_or_above_its_percentile(mut x in prop::collection::vec(0.0f64..1.0, 1..400), p in 0.01f64..0.99) {
        x.sort_by(f64::total_cmp);
        if let Some(bound) = loadgen_bound(&x, p, 0.99).unwrap() {
            prop_assert!(bound >= quantile_sorted(&x, p).unwrap());
            prop_assert!(bound >= loadgen_bound(&x, p, 0.9).unwrap().unwrap());
        }
    }

    #[test]
    fn nothing_panics(
        x in prop::collection::vec(hostile(), 0..12), a in hostile(), b in hostile(), n in 0usize..70, k: u64, m: u64,
    ) {
        let positive: Vec<bool> = x.iter().enumerate().map(|(i, v)| (*v > 0.5) ^ (i % 3 == 0)).collect();
        let table = PairedTable { both: k, lost: m, gained: k ^ m, neither: n as u64 };
        let sorted = { let mut s = x.clone(); s.sort_by(f64::total_cmp); s };
        let finite = |v: f64, what: &str| assert!(!v.is_nan(), "{what}");
        // an answer is an error or a number, never a NaN in disguise
        if let Ok(v) = mean(&x) { assert!(x.iter().all(|v| v.is_finite()) && !x.is_empty(), "{v}") }
        if let Ok(p) = Paired::new(&x).map(|p| p.test(a)) && x.iter().all(|v| v.abs() < 1e100) && a.abs() < 1e100 {
            finite(p.two_sided, "t");
        }
        if let Ok(w) = wilcoxon_signed_rank(&x) { finite(w.p.two_sided, "wilcoxon") }
        let ignored = (
            (Summary::of(&x), coefficient_of_variation(&x), sign_flip(&x, k), hodges_lehmann(&x, a)),
            (order_statistic_interval(&sorted, a, b), quantile_sorted(&sorted, a), autocorrelation(&x, n)),
            (effective_sample_size(&x), log_ratios(&x, &sorted), benjamini_hochberg(&x), holm(&x)),
            (wilson(k, m, a), clopper_pearson(k, m, a), tango_interval(&table, a), mcnemar_mid_p(&table)),
            (tango_non_inferiority(&table, a), mcnemar_exact(&table), smallest_visible_drop(a, k, b, 0.9)),
            (minimum_detectable_effect(a, n, b, 0.9), paired_power(a, b, n, 0.01), beta_quantile(a, b, 1.0)),
            (t_sf(a, b), t_quantile_upper(a, b), normal_quantile(a), binomial_pmf(k, m, a), binomial_sf(k, m, a)),
            choose_location(&[(Location::Median, x.clone()), (Location::Min, sorted.clone())]),
            Rule::new(a, b).map(|rule| look(&x, &rule)),
            delong(&x, &sorted, &positive).map(|d| (d.test(a), d.interval(b))),
            (t_log_e_value(&x, a, b), Paired::new(&x).map(|paired| t_e_interval(&paired, a, b))),
            (Pelt { penalty: a, min_segment: n % 5 }.change_points(&x), Pelt::PROPOSE.change_points(&sorted)),
            (loadgen_bound(&sorted, a, b), loadgen_bound(&sorted, 0.5, a)),
        );
        prop_assert!(size_of_val(&ignored) > 0);
    }
}
