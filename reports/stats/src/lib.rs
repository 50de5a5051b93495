//! Statistics for paired measurements on devices: location and spread, intervals, tests, and the
//! sequential rule that turns log ratios into an answer.
//!
//! Pure numbers: no I/O, no clock, no serialisation, no knowledge of devices, variants or metrics.
//! Nothing here panics: what cannot be computed is a [`StatsError`] or `None`. Random choices come from
//! a [`Rng`] that the caller seeds, so that every number can be computed again.
//!
//! Each file is one topic and names its source. The golden vectors in `tests/golden` come from SciPy,
//! statsmodels, scikit-learn and ruptures, and from definitions written out in `make.py`.

mod allocation;
mod autocorrelation;
mod bootstrap;
mod change_points;
mod delong;
mod descriptive;
mod dist;
mod e_process;
mod equivalence;
mod error;
mod hodges_lehmann;
mod interval;
mod location;
mod multiplicity;
mod paired;
mod paired_proportion;
mod power;
mod proportion;
mod quantile;
mod ranks;
mod rng;
pub mod scores;
pub mod sequential;
mod sessions;
mod sign_flip;
mod signed_rank;
mod special;

pub use allocation::{Halved, LEAST_ITERATIONS, Levels, MOST_ITERATIONS};
pub use autocorrelation::{autocorrelation, effective_sample_size};
pub use bootstrap::{Bootstrap, Clusters, Resampled};
pub use change_points::{Pelt, neighbour_noise};
pub use delong::{Auc, PairedAuc, delong};
pub use descriptive::{MAD_TO_SD, Summary, coefficient_of_variation, mad, mean, median, standard_deviation};
pub use dist::{
    beta_quantile, binomial_cdf, binomial_pmf, binomial_sf, normal_quantile, normal_sf, t_quantile_upper,
    t_sf,
};
pub use e_process::{EFFECT_SCALE, t_e_interval, t_log_e_value};
pub use equivalence::{Equivalence, tost};
pub use error::StatsError;
pub use hodges_lehmann::hodges_lehmann;
pub use interval::{Estimate, Interval, PValues};
pub use location::{LOCATION_UNITS, Location, choose_location};
pub use multiplicity::{benjamini_hochberg, holm};
pub use paired::{Paired, log_ratios};
pub use paired_proportion::{
    PairedTable, mcnemar_exact, mcnemar_mid_p, tango_interval, tango_non_inferiority,
};
pub use power::{minimum_detectable_effect, paired_power, smallest_visible_drop, visible_difference};
pub use proportion::{clopper_pearson, wilson};
pub use quantile::{Percentile, loadgen_bound, order_statistic_interval, quantile_sorted};
pub use rng::Rng;
pub use sessions::{ANCHORED_SESSION_SD, SESSION_LEVEL, SESSION_SD, across_sessions};
pub use sign_flip::{SIGN_FLIP_EXACT_MAX, SIGN_FLIP_RESAMPLES, sign_flip};
pub use signed_rank::{SignedRank, wilcoxon_signed_rank};
