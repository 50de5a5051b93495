//! Every statistic against what SciPy, statsmodels or a definition in Python answer (`golden/make.py`):
//! 1e-9 relative, in the tails too.

#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod common;

use common::{list, number, numbers};
use serde_json::Value;
use stats::{
    Bootstrap, Clusters, Equivalence, Interval, PValues, Paired, PairedTable, Pelt, Rng, autocorrelation,
    benjamini_hochberg, beta_quantile, binomial_cdf, binomial_pmf, binomial_sf, clopper_pearson,
    coefficient_of_variation, delong, effective_sample_size, hodges_lehmann, holm, loadgen_bound, mad,
    mcnemar_exact, mcnemar_mid_p, mean, median, minimum_detectable_effect, normal_quantile, normal_sf,
    order_statistic_interval, paired_power, sign_flip, standard_deviation, t_e_interval, t_log_e_value,
    t_quantile_upper, t_sf, tango_interval, tango_non_inferiority, tost, wilcoxon_signed_rank, wilson,
};

fn vectors(part: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("golden/vectors.json")).unwrap();
    all[part].clone()
}

fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a whole number, not {value}"))
}

#[track_caller]
fn near(what: &str, found: f64, expected: f64) {
    let error = (found - expected).abs();
    assert!(error <= 1e-9 * expected.abs(), "{what}: {found:e}, expected {expected:e}");
}

/// For numbers that are differences of larger ones, of which `scale` is the size.
#[track_caller]
fn near_of(what: &str, found: f64, expected: f64, scale: f64) {
    assert!((found - expected).abs() <= 1e-9 * scale, "{what}: {found:e}, expected {expected:e}");
}

#[track_caller]
fn near_p(what: &str, found: PValues, expected: &Value) {
    let expected = numbers(expected);
    near(&format!("{what} greater"), found.greater, expected[0]);
    near(&format!("{what} less"), found.less, expected[1]);
    near(&format!("{what} two-sided"), found.two_sided, expected[2]);
}

#[track_caller]
fn near_interval(what: &str, found: Interval, expected: &Value, scale: f64) {
    let expected = numbers(expected);
    near_of(&format!("{what} low"), found.low, expected[0], scale);
    near_of(&format!("{what} high"), found.high, expected[1], scale);
}

#[test]
fn descriptive_and_t() {
    for case in list(&vectors("series")) {
        let (name, x) = (case["name"].as_str().unwrap(), numbers(&case["x"]));
        let scale = x.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        near_of(name, mean(&x).unwrap(), number(&case["mean"]), scale);
        near(name, standard_deviation(&x).unwrap(), number(&case["sd"]));
        near_of(name, median(&x).unwrap(), number(&case["median"]), scale);
        near(name, mad(&x).unwrap(), number(&case["mad"]));
        let positive: Vec<f64> = x.iter().map(|v| v.exp()).collect();
        near(name, coefficient_of_variation(&positive).unwrap(), number(&case["cv"]));
        let paired = Paired::new(&x).unwrap();
        near_p(name, paired.test(0.0), &case["t_p"]);
        near_p(name, paired.test(0.03), &case["t_p_shifted"]);
        for (level, expected) in case["t_interval"].as_object().unwrap() {
            near_interval(name, paired.interval(level.parse().unwrap()).unwrap(), expected, scale);
        }
        let Equivalence { p, .. } = tost(&paired, -0.03, 0.03).unwrap();
        near(name, p, number(&case["tost"]));
        near_of(name, autocorrelation(&x, 1).unwrap(), numbers(&case["acf"])[1], 1.0);
        near(name, effective_sample_size(&x).unwrap(), number(&case["ess"]));
    }
}

#[test]
fn rank_and_permutation_tests() {
    for case in list(&vectors("series")) {
        let (name, x) = (case["name"].as_str().unwrap(), numbers(&case["x"]));
        let scale = x.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let (found, expected) = (wilcoxon_signed_rank(&x).unwrap(), &case["wilcoxon"]);
        assert_eq!(Some(found.exact), expected["exact"].as_bool(), "{name}");
        near(name, found.w_plus, number(&expected["w_plus"]));
        near_p(name, found.p, &expected["p"]);
        for (level, expected) in case["hodges_lehmann"]["intervals"].as_object().unwrap() {
            let (point, interval) = hodges_lehmann(&x, level.parse().unwrap()).unwrap();
            near_of(name, point, number(&case["hodges_lehmann"]["point"]), scale);
            assert_eq!(interval.is_none(), expected.is_null(), "{name} {level}");
            if let Some(interval) = interval {
                near_interval(name, interval, expected, scale);
            }
        }
        if !case["sign_flip"].is_null() {
            near_p(name, sign_flip(&x, 0).unwrap(), &case["sign_flip"]);
        }
    }
}

#[test]
fn distributions() {
    let all = vectors("distributions");
    for row in list(&all["normal_sf"]) {
        near("normal sf", normal_sf(number(&row[0])), number(&row[1]));
    }
    for row in list(&all["normal_quantile"]) {
        near("normal quantile", normal_quantile(number(&row[0])), number(&row[1]));
    }
    for row in list(&all["t_sf"]) {
        near(&format!("t sf {row}"), t_sf(number(&row[0]), number(&row[1])), number(&row[2]));
    }
    for row in list(&all["t_quantile"]) {
        near(&format!("t {row}"), t_quantile_upper(number(&row[0]), number(&row[1])), number(&row[2]));
    }
    for row in list(&all["binomial"]) {
        let (k, n, p) = (whole(&row[0]), whole(&row[1]), number(&row[2]));
        near(&format!("cdf {row}"), binomial_cdf(k, n, p), number(&row[3]));
        near(&format!("sf {row}"), binomial_sf(k, n, p), number(&row[4]));
        near(&format!("pmf {row}"), binomial_pmf(k, n, p), number(&row[5]));
    }
    for row in list(&all["beta_quantile"]) {
        let found = beta_quantile(number(&row[0]), number(&row[1]), number(&row[2]));
        near(&format!("beta {row}"), found, number(&row[3]));
    }
}

#[test]
fn proportions() {
    for case in list(&vectors("proportions")) {
        let (hits, n, level) = (whole(&case["hits"]), whole(&case["n"]), number(&case["level"]));
        for (name, found) in
            [("wilson", wilson(hits, n, level)), ("clopper_pearson", clopper_pearson(hits, n, level))]
        {
            let (found, expected) = (found.unwrap().interval, numbers(&case[name]));
            // SciPy's Wilson bounds at 0 and at n hits are a rounding away from 0 and 1
            near_of(&format!("{name} {case}"), found.low, expected[0], expected[0].max(1e-7));
            near(&format!("{name} {case}"), found.high, expected[1]);
        }
    }
}

#[test]
fn paired_tables() {
    for case in list(&vectors("tables")) {
        let cells: Vec<u64> = list(&case["table"]).iter().map(whole).collect();
        let table = PairedTable { both: cells[0], lost: cells[1], gained: cells[2], neither: cells[3] };
        let name = format!("{table:?}");
        near_p(&name, mcnemar_exact(&table).unwrap(), &case["exact"]);
        near_p(&name, mcnemar_mid_p(&table).unwrap(), &case["mid_p"]);
        for (level, expected) in case["tango"].as_object().unwrap() {
            let found = tango_interval(&table, level.parse().unwrap()).unwrap();
            near_interval(&name, found.interval, expected, found.interval.half_width());
        }
        for row in list(&case["non_inferiority"]) {
            let found = tango_non_inferiority(&table, number(&row[0])).unwrap();
            near(&format!("{name} {row}"), found, number(&row[1]));
        }
    }
}

#[test]
fn many_tests() {
    for case in list(&vectors("multiplicity")) {
        let p = numbers(&case["p"]);
        for (name, found) in [("bh", benjamini_hochberg(&p)), ("holm", holm(&p))] {
            for (found, expected) in found.unwrap().into_iter().zip(numbers(&case[name])) {
                near(&format!("{name} {p:?}"), found, expected);
            }
        }
    }
}

#[test]
fn order_statistics() {
    for case in list(&vectors("order_statistics")) {
        let x: Vec<f64> = (0..whole(&case["n"])).map(|i| i as f64).collect();
        let found = order_statistic_interval(&x, number(&case["p"]), number(&case["level"])).unwrap();
        match (found, &case["interval"]) {
            (None, Value::Null) => {}
            (Some(found), expected) if !expected.is_null() => {
                assert_eq!(found.point, number(&case["point"]), "{case}");
                assert_eq!([found.interval.low, found.interval.high].as_slice(), numbers(expected), "{case}");
            }
            other => panic!("{other:?} {case}"),
        }
    }
}

#[test]
fn power() {
    for case in list(&vectors("power")) {
        let (n, alpha, effect) =
            (whole(&case["n"]) as usize, number(&case["alpha"]), number(&case["effect"]));
        // in units of half an sd, to see that scale goes through
        let found = paired_power(effect / 2.0, 0.5, n, alpha).unwrap();
        near_of(&format!("{case}"), found, number(&case["power"]), 1.0);
        let found = minimum_detectable_effect(0.5, n, alpha, 0.9).unwrap();
        near(&format!("{case}"), found, number(&case["effect_for_90"]) / 2.0);
    }
}

#[test]
fn bootstrap() {
    let all = vectors("bootstrap");
    let (x, y) = (numbers(&all["x"]), numbers(&all["y"]));
    let labels: Vec<u64> = list(&all["labels"]).iter().map(whole).collect();
    let settings = Bootstrap { resamples: whole(&all["resamples"]) as u32, seed: whole(&all["seed"]) };
    let level = number(&all["level"]);
    let sum = |of: &[f64], at: &[usize]| at.iter().map(|i| of[*i]).sum::<f64>();
    let ratio = |at: &[usize]| sum(&x, at) / sum(&y, at);
    for case in list(&all["cases"]) {
        let clusters = match case["kind"].as_str() {
            Some("singles") => Clusters::singles(x.len()),
            _ => Clusters::by_label(&labels),
        };
        let found = settings.resample(&clusters, ratio).unwrap();
        near("point", found.point, number(&case["point"]));
        near_interval("percentile", found.percentile(level).unwrap(), &case["percentile"], 1.0);
        near_interval("bca", found.bca(level).unwrap(), &case["bca"], 1.0);
    }
}

#[test]
fn equal_values() {
    for case in list(&vectors("equal_values")) {
        let x = numbers(&case["x"]);
        let found = wilcoxon_signed_rank(&x).unwrap();
        assert!(!found.exact, "{x:?}");
        near_p(&format!("{x:?}"), found.p, &case["wilcoxon"]["p"]);
        assert_eq!(hodges_lehmann(&x, 0.9).unwrap().0, number(&case["hodges_lehmann"]), "{x:?}");
        near_p(&format!("{x:?}"), sign_flip(&x, 0).unwrap(), &case["sign_flip"]);
    }
}

#[test]
fn sign_flip_by_draws() {
    for case in list(&vectors("sign_flip_draws")) {
        let x = numbers(&case["x"]);
        near_p(&format!("{x:?}"), sign_flip(&x, whole(&case["seed"])).unwrap(), &case["p"]);
    }
}

#[test]
fn loadgen_bounds() {
    for case in list(&vectors("loadgen_bounds")) {
        let x: Vec<f64> = (0..whole(&case["n"])).map(|i| i as f64).collect();
        let found = loadgen_bound(&x, number(&case["p"]), number(&case["confidence"])).unwrap();
        assert_eq!(found, case["bound"].as_f64(), "{case}");
    }
}

#[test]
fn roc() {
    for case in list(&vectors("roc")) {
        let positive: Vec<bool> = list(&case["positive"]).iter().map(|p| p.as_bool().unwrap()).collect();
        let found = delong(&numbers(&case["candidate"]), &numbers(&case["reference"]), &positive).unwrap();
        let name = format!("{} examples", positive.len());
        for (i, side) in [found.candidate, found.reference].into_iter().enumerate() {
            near(&name, side.value, number(&case["auc"][i]));
            near(&name, side.standard_error, number(&case["se"][i]));
        }
        near_of(&name, found.difference, number(&case["difference"]), 1.0);
        near(&name, found.standard_error, number(&case["difference_se"]));
        near_p(&name, found.test(0.0), &case["p"]);
        near(&name, found.test(-0.02).greater, number(&case["p_margin"]));
        near_interval(&name, found.interval(0.98).unwrap(), &case["interval_98"], 1.0);
    }
}

#[test]
fn t_e_values() {
    for case in list(&vectors("t_e_values")) {
        let found = t_log_e_value(&numbers(&case["x"]), number(&case["mu"]), number(&case["scale"])).unwrap();
        near_of(&case.to_string(), found, number(&case["log_e"]), 1.0);
    }
    for case in list(&vectors("t_e_intervals")) {
        let x = numbers(&case["x"]);
        let paired = Paired::new(&x).unwrap();
        let found = t_e_interval(&paired, number(&case["level"]), number(&case["scale"])).unwrap();
        assert_eq!(found.is_none(), case["interval"].is_null(), "{case}");
        if let Some(found) = found {
            near_interval(&case.to_string(), found, &case["interval"], paired.mean.abs().max(paired.sd));
        }
    }
}

#[test]
fn change_points() {
    for case in list(&vectors("change_points")) {
        let pelt =
            Pelt { penalty: number(&case["penalty"]), min_segment: whole(&case["min_segment"]) as usize };
        let expected: Vec<usize> = list(&case["found"]).iter().map(|at| whole(at) as usize).collect();
        assert_eq!(pelt.change_points(&numbers(&case["x"])), Ok(expected), "{case}");
    }
}

#[test]
fn generator() {
    let all = vectors("rng");
    let mut rng = Rng::new(whole(&all["seed"]));
    for expected in list(&all["next"]) {
        assert_eq!(Some(rng.next_u64().to_string().as_str()), expected.as_str());
    }
    for (bound, expected) in [1, 2, 3, 10, 1000, 1 << 40].into_iter().zip(list(&all["below"])) {
        assert_eq!(rng.below(bound) as u64, whole(expected));
    }
}
