//! One model: the session of the engine and that of the peer take turns in one process.

use super::{Case, Settings, Side, fill, median, pin};
use runtimes::{Result, Session};
use std::time::{Duration, Instant};

/// Shortest time of the invokes of a burst.
const BURST: Duration = Duration::from_millis(4);
/// Threads of the other side wait busily for so long at most: they would have the core that this side's threads need.
const PAUSE: Duration = Duration::from_millis(60);
/// Invokes shorter than this are timed several at once.
const SHORT: Duration = Duration::from_micros(50);

/// Measures and answers with one line of fields, as [`super::table`] reads them.
///
/// # Errors
/// A side that does not run the model, or whose outputs have another size than the other's.
pub(super) fn measure(case: &Case, settings: &Settings) -> Result<String> {
    pin(settings)?;
    let (mut ours, precision) = session(case, settings, Side::Ours)?;
    let (mut theirs, _) = session(case, settings, Side::Theirs)?;
    let pause = if settings.threads > 1 { PAUSE } else { Duration::ZERO };
    let (mut ours, mut theirs) = (Timed::new(&mut *ours, pause)?, Timed::new(&mut *theirs, pause)?);
    if ours.session.proof().kernels.contains("made for the values of") {
        return Err(super::wrong(
            "ours is made for the values of the inputs: an invoke would do nothing anew",
        ));
    }
    let difference = difference(&*ours.session, &*theirs.session)?;
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let (mut us, mut them, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.bursts {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (a, b) = if random >> 63 == 0 {
            let a = ours.burst()?;
            (a, theirs.burst()?)
        } else {
            let b = theirs.burst()?;
            (ours.burst()?, b)
        };
        us.push(a);
        them.push(b);
        ratios.push(a / b);
    }
    let (low, high) = interval(&mut ratios);
    let ratio = median(&mut ratios);
    let (us, them) = (median(&mut us), median(&mut them));
    Ok(format!("pair\t{precision}\t{us}\t{them}\t{ratio}\t{low}\t{high}\t{difference}\n"))
}

fn session(case: &Case, settings: &Settings, side: Side) -> Result<(Box<dyn Session>, String)> {
    let model = case.load(side, settings)?.open(&case.path)?;
    let precision =
        model.facts().map_or_else(|_| String::new(), |facts| format!("{:?}", facts.precision).to_lowercase());
    let mut session = model.compile(&case.options(side, settings)?)?;
    fill(&mut *session)?;
    Ok((session, precision))
}

struct Timed<'a> {
    session: &'a mut dyn Session,
    /// Invokes that are timed at once.
    batch: u32,
    /// Batches of a burst.
    batches: u32,
    /// Before a burst.
    pause: Duration,
}

impl<'a> Timed<'a> {
    fn new(session: &'a mut dyn Session, pause: Duration) -> Result<Self> {
        let mut one = Duration::MAX;
        for _ in 0..5 {
            let start = Instant::now();
            session.invoke()?;
            one = one.min(start.elapsed());
        }
        let nanos = |d: Duration| d.as_nanos().max(1);
        let batch = (nanos(SHORT) / nanos(one) + 1) as u32;
        let batches = (nanos(BURST) / (nanos(one) * u128::from(batch)) + 1) as u32;
        Ok(Self { session, batch, batches: batches.max(3), pause })
    }

    /// Nanoseconds of an invoke.
    fn burst(&mut self) -> Result<f64> {
        std::thread::sleep(self.pause);
        let start = Instant::now();
        self.session.invoke()?;
        while start.elapsed() < self.pause / 20 {
            self.session.invoke()?;
        }
        let mut all = Vec::new();
        for _ in 0..self.batches {
            let start = Instant::now();
            for _ in 0..self.batch {
                self.session.invoke()?;
            }
            all.push(start.elapsed().as_nanos() as f64 / f64::from(self.batch));
        }
        Ok(median(&mut all))
    }
}

/// The interval of the median by ranks: the widest pair of ranks that leaves out at most 2.5 % on each side.
fn interval(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let (mut below, mut term, mut rank) = (0.0, 0.5f64.powi(n as i32), 0);
    while below + term <= 0.025 {
        below += term;
        term *= (n - rank) as f64 / (rank + 1) as f64;
        rank += 1;
    }
    let rank = rank.saturating_sub(1);
    (values[rank], values[n - 1 - rank])
}

/// Largest difference of any output element, relative to the largest magnitude in its output.
fn difference(ours: &dyn Session, theirs: &dyn Session) -> Result<f64> {
    let mut worst = 0.0f64;
    for index in 0..ours.outputs().len() {
        let info = ours.outputs()[index].clone();
        let (a, b) = (numbers(info.dtype, ours.output(index)?), numbers(info.dtype, theirs.output(index)?));
        if a.len() != b.len() {
            return Err(super::wrong(&format!(
                "output {index} has {} elements, theirs {}",
                a.len(),
                b.len()
            )));
        }
        let top = b.iter().fold(1e-30f64, |top, v| top.max(v.abs()));
        // Not a number is only equal to itself.
        let apart = |a: f64, b: f64| if a.is_nan() == b.is_nan() { (a - b).abs() } else { f64::INFINITY };
        let all = a.iter().zip(&b).map(|(a, b)| apart(*a, *b));
        worst = worst.max(all.fold(0.0, f64::max) / top);
    }
    Ok(worst)
}

fn numbers(dtype: protocol::DType, bytes: &[u8]) -> Vec<f64> {
    use protocol::DType;
    macro_rules! as_f64 {
        ($t:ty) => {
            bytes.as_chunks().0.iter().map(|b| <$t>::from_le_bytes(*b) as f64).collect()
        };
    }
    match dtype {
        DType::F32 => as_f64!(f32),
        DType::I8 => as_f64!(i8),
        DType::U8 | DType::Bool => as_f64!(u8),
        DType::I16 => as_f64!(i16),
        DType::I32 => as_f64!(i32),
        DType::I64 => as_f64!(i64),
        _ => Vec::new(),
    }
}
