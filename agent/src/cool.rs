//! The wait before a unit until the device is cool enough. Reads temperatures and waits; what heat does to
//! a result is for others to say.

use crate::{
    clock::{self, ms},
    crew::{Crew, Stop},
    hub::Wake,
};
use protocol::{CoolDown, Event};

/// How often the temperature is read: a device takes minutes to cool, and Android's service some 50 ms of
/// work to answer.
const LOOK_MS: u64 = 2_000;

/// Waits, beating meanwhile, until the hottest zone that counts is below the limit or the time is up, and
/// reports which. A device that tells no temperature is not waited for.
pub(crate) fn wait(crew: &mut Crew<'_>, wish: &CoolDown) -> Result<(), Stop> {
    let begun = clock::monotonic_ns();
    let end = begun.saturating_add(ms(wish.wait_ms));
    let mut last = None;
    loop {
        // a sensor that fails for once has not changed its mind
        last = crew.probe.heat(wish.zone.as_deref()).or(last);
        let now = clock::monotonic_ns();
        let milli_celsius = last.as_ref().map(|zone| zone.milli_celsius);
        let reached = milli_celsius.is_some_and(|t| t < wish.below_milli_celsius);
        if reached || last.is_none() || now >= end {
            let waited_ms = now.saturating_sub(begun) / 1_000_000;
            let zone = last.map(|zone| zone.zone);
            crew.event(Event::CooledDown { waited_ms, zone, milli_celsius, reached })?;
            return Ok(crew.hub.flush()?);
        }
        let again = now.saturating_add(ms(LOOK_MS)).min(end);
        loop {
            match crew.hub.wait(&[], Some(again))? {
                Wake::Cancelled => return Err(Stop::Cancelled),
                Wake::Time => break,
                Wake::Worker(_) | Wake::Request => {}
            }
        }
    }
}
