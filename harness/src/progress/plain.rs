//! One line per thing worth knowing, for pipes and CI logs. No escape sequences, nothing overwritten.

use super::view::{Phase, Tally, View, device_of, left, looked};
use crate::{
    dispatch::DispatchEvent,
    values::{human_bytes, human_time},
};
use reports::record::Purpose;

/// The line for an event, when it deserves one.
pub(super) fn line(view: &View, event: &DispatchEvent) -> Option<String> {
    if let DispatchEvent::Interrupted = event {
        return Some("interrupted: ending the unit under way (once more to end at once)".to_owned());
    }
    let device = view.device(device_of(event)?)?;
    let text = match event {
        DispatchEvent::Ready { hello, sent_bytes, .. } => {
            let info = &hello.device;
            let sent = match sent_bytes {
                0 => "every file was there".to_owned(),
                bytes => format!("{} sent", human_bytes(*bytes)),
            };
            format!("ready: {}, {} cores, {}; {sent}", info.cpu, info.cores.len(), info.os)
        }
        DispatchEvent::NotReady { trouble, .. } => format!("not ready: {}", trouble.reason),
        DispatchEvent::UnitStarted { attempt, purpose, round, cases, .. }
            if *purpose == Purpose::Accuracy || *attempt > 0 =>
        {
            let again = if *attempt > 0 { format!(", attempt {}", attempt + 1) } else { String::new() };
            let (kind, planned) = match purpose {
                Purpose::Accuracy => ("accuracy", device.accuracy.planned.to_string()),
                Purpose::Profile => ("profile", device.accuracy.planned.to_string()),
                Purpose::Performance => ("performance unit", format!("up to {}", device.performance.planned)),
                Purpose::Confirmation => {
                    ("confirmation unit", format!("up to {}", device.performance.planned))
                }
            };
            format!("{kind} {} of {planned}: {}{again}", round + 1, view.names(cases))
        }
        DispatchEvent::UnitDone { took, .. } => {
            let (phase, Tally { done, planned }) = device.phase();
            let kind = match phase {
                Phase::Accuracy | Phase::Profile => return None,
                Phase::Performance => "performance",
                Phase::Confirmation => "confirmation",
            };
            let (took, left) = (human_time(*took), left(view, device));
            format!("{kind} unit {done} of up to {planned} done in {took}{left}")
        }
        DispatchEvent::Looked { standing, .. } => looked(view, standing),
        DispatchEvent::UnitLost { trouble, unit, attempt, .. } => {
            format!("{unit}, attempt {} lost: {}", attempt + 1, trouble.reason)
        }
        DispatchEvent::UnitCancelled { unit, .. } => format!("{unit} ended early"),
        DispatchEvent::DeviceLost { reason, .. } => format!("given up: {reason}"),
        DispatchEvent::DeviceFinished { reason, .. } => format!("finished: {reason}"),
        _ => return None,
    };
    Some(format!("{}: {text}", device.id))
}
