//! One bar per device on a terminal.

use super::{
    plain,
    view::{Phase, Tally, View, device_of},
};
use crate::{
    dispatch::DispatchEvent,
    transport::share_screen,
    values::{human_bytes, human_time},
};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Redrawn so often when nothing happens: the clock goes on, the device is hardly disturbed.
const TICK: Duration = Duration::from_secs(1);

/// Beyond so many devices there is a bar for each, and nothing more.
const MOST_DETAILED: usize = 6;

/// The bars.
pub(super) struct Terminal {
    all: MultiProgress,
    bars: Vec<ProgressBar>,
    /// Below each bar: how well each contrast is known. Where there are few devices.
    known: Vec<ProgressBar>,
}

impl Terminal {
    pub(super) fn new() -> Self {
        let all = MultiProgress::new();
        // a question must not be drawn over
        let screen = all.clone();
        share_screen(Box::new(move |asking| {
            if asking {
                screen.clear().unwrap_or_default();
            }
            let target = if asking { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
            screen.set_draw_target(target);
        }));
        Self { all, bars: Vec::new(), known: Vec::new() }
    }

    pub(super) fn devices(&mut self, ids: &[String]) {
        let style = ProgressStyle::with_template("{prefix:.bold} {elapsed:>4} {bar:16} {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸ ");
        for id in ids {
            let bar = self.all.add(ProgressBar::new(1).with_style(style.clone()).with_prefix(id.clone()));
            bar.enable_steady_tick(TICK);
            self.bars.push(bar);
            if ids.len() <= MOST_DETAILED {
                let style = ProgressStyle::with_template("  {wide_msg:.dim}");
                let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
                self.known.push(self.all.add(ProgressBar::new(1).with_style(style)));
            }
        }
    }

    pub(super) fn show(&mut self, view: &View, event: &DispatchEvent) {
        // what would be lost with the bar stays as a line
        let stays = matches!(
            event,
            DispatchEvent::UnitLost { .. }
                | DispatchEvent::DeviceLost { .. }
                | DispatchEvent::NotReady { .. }
                | DispatchEvent::Interrupted
        );
        if stays && let Some(line) = plain::line(view, event) {
            self.note(&super::harmless(&line));
        }
        let Some(index) = device_of(event) else { return };
        let (Some(bar), Some(device)) = (self.bars.get(index), view.device(index)) else { return };
        if let DispatchEvent::Pushing { name, sent_bytes, bytes, .. } = event {
            bar.set_length(*bytes);
            bar.set_position(*sent_bytes);
            bar.set_message(format!("pushing {name} ({})", human_bytes(*bytes)));
            return;
        }
        let (phase, tally) = device.phase();
        bar.set_length(u64::from(tally.planned.max(1)));
        bar.set_position(u64::from(tally.done));
        // the most useful words first: a narrow terminal cuts the rest off
        let Tally { done, planned } = tally;
        let doing = &device.doing;
        let text = match (phase, planned) {
            (_, 0) => doing.clone(),
            (Phase::Accuracy, _) => format!("accuracy {done} of {planned}: {doing}"),
            (Phase::Profile, _) => format!("profile {done} of {planned}: {doing}"),
            (Phase::Performance | Phase::Confirmation, _) => {
                let kind = if phase == Phase::Confirmation { "confirming: " } else { "" };
                let left = view.at_most_left(device).map(|left| format!(", ≤ {} left", human_time(left)));
                let standing = device.standing.as_ref();
                let seen = standing.map(|s| format!(", {} of {} decided", s.decided(), s.contrasts.len()));
                let (left, seen) = (left.unwrap_or_default(), seen.unwrap_or_default());
                format!("{kind}{done} of ≤ {planned} units{left}{seen}: {doing}")
            }
        };
        bar.set_message(text);
        if let (Some(line), Some(standing)) = (self.known.get(index), &device.standing) {
            line.set_message(view.precision(standing, usize::MAX));
        }
    }

    pub(super) fn note(&self, line: &str) {
        // a terminal that is gone cannot be told
        self.all.println(line).unwrap_or_default();
    }

    pub(super) fn clear(&mut self) {
        for bar in self.bars.drain(..).chain(self.known.drain(..)) {
            bar.finish_and_clear();
        }
        self.all.clear().unwrap_or_default();
    }
}
