//! What a person sees while a run goes on: bars on a terminal, plain lines anywhere else, nothing when asked
//! to be quiet. Listens to events and changes nothing; everything goes to stderr, so that stdout carries
//! results only.

mod plain;
mod terminal;
mod view;

use crate::dispatch::DispatchEvent;
use reports::record::Plan;
use std::{
    env,
    io::{self, IsTerminal, Write},
};
use terminal::Terminal;
use view::View;

/// The listener.
pub(crate) struct Progress {
    view: View,
    style: Style,
}

enum Style {
    Quiet,
    Plain,
    Terminal(Terminal),
}

impl Progress {
    /// Bars when stderr is a terminal and no CI is at work, lines otherwise.
    pub(crate) fn new(quiet: bool) -> Self {
        let ci = env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false");
        let dumb = env::var_os("TERM").is_some_and(|v| v == "dumb");
        let style = match (quiet, io::stderr().is_terminal() && !ci && !dumb) {
            (true, _) => Style::Quiet,
            (false, true) => Style::Terminal(Terminal::new()),
            (false, false) => Style::Plain,
        };
        Self { view: View::default(), style }
    }

    /// Names the devices.
    pub(crate) fn devices(&mut self, ids: &[String]) {
        self.view.devices(ids);
        if let Style::Terminal(terminal) = &mut self.style {
            terminal.devices(ids);
        }
    }

    /// Tells what was planned; units `done` earlier need not be done again.
    pub(crate) fn plan(&mut self, plan: &Plan, done: &[(usize, reports::record::Purpose)]) {
        self.view.plan(plan, done);
    }

    /// Something happened.
    pub(crate) fn on(&mut self, event: &DispatchEvent) {
        self.view.take(event);
        match &mut self.style {
            Style::Quiet => {}
            Style::Plain => {
                if let Some(line) = plain::line(&self.view, event) {
                    say(&line);
                }
            }
            Style::Terminal(terminal) => terminal.show(&self.view, event),
        }
    }

    /// A line that stays, for people: also when a bar is on the screen. Not when quiet.
    pub(crate) fn note(&self, line: &str) {
        match &self.style {
            Style::Quiet => {}
            Style::Plain => say(line),
            Style::Terminal(terminal) => terminal.note(&harmless(line)),
        }
    }

    /// Takes the bars away.
    pub(crate) fn clear(&mut self) {
        if let Style::Terminal(terminal) = &mut self.style {
            terminal.clear();
        }
    }
}

/// A line on stderr. Nobody can be told when that does not work.
pub(crate) fn say(line: &str) {
    writeln!(io::stderr().lock(), "{}", harmless(line)).unwrap_or_default();
}

/// Text without what a terminal would obey: devices have a say in most lines.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
