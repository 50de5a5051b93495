//! Command lines for a login shell that nobody has chosen: bash, fish, csh. What is to be run is handed to `sh` in
//! a form that all of them leave alone, and begins with a mark, so that what login scripts print before is told
//! from what was asked for.

use super::super::{
    Control, Pending, Process, ProcessEnd, TransportError,
    remote::{OUTPUT_BYTES, Output, harmless},
};
use std::{fmt::Write, io::Cursor};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What is printed before anything of ours.
const MARK: &[u8] = b"\nbench-begin\n";

/// A login script that greets with more than this does not greet.
const GREETING_BYTES: usize = 64 * 1024;

/// For messages.
const STARTING: &str = "starting a shell";

/// Bytes read at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// Hands a script to `sh`, whatever the login shell is. No letter in it means something in a string in single
/// quotes of sh, csh or fish: quotes, backslashes, exclamation marks and line ends are written as numbers.
pub(super) fn wrapped(script: &str) -> String {
    let mut safe = String::with_capacity(script.len());
    for c in script.chars() {
        match c {
            '\'' | '\\' | '!' | '\0'..='\x1f' | '\x7f' => {
                write!(safe, "\\0{:03o}", u32::from(c)).unwrap_or_default()
            }
            _ => safe.push(c),
        }
    }
    // the word after the script is what `sh` calls itself when it complains
    format!("exec sh -c 'echo; echo bench-begin; eval \"$(printf %b \"$1\")\"' sh '{safe}'")
}

/// The status that a script of [`sealed`] ends with when all went well: one that no program of ours has.
const WELL: i32 = 113;

/// A script that never ends with status 0: libssh2 says 0 where the peer said nothing of the end. Nor does it end by a
/// signal, which `ssh` would not tell: its shell does, and keeps to itself what it has to say about that. Made good
/// again by [`Sealed`].
pub(super) fn sealed(script: &str) -> String {
    format!(
        "exec 3>&2 2>/dev/null; ( exec 2>&3 3>&-; {script}\n); s=$?; case $s in 0) s={WELL};; {WELL}) s=1;; esac; \
         exit $s"
    )
}

/// The life of a script that was [`sealed`]: a status that nobody sent is none.
pub(super) struct Sealed(pub(super) Box<dyn Control>);

impl Control for Sealed {
    fn wait(&mut self) -> Pending<'_, ProcessEnd> {
        Box::pin(async move { Ok(opened(self.0.wait().await?)) })
    }

    fn kill(&mut self) -> Pending<'_, ()> {
        self.0.kill()
    }
}

fn opened(end: ProcessEnd) -> ProcessEnd {
    match end {
        ProcessEnd::Exited(WELL) => ProcessEnd::Exited(0),
        ProcessEnd::Exited(0) => ProcessEnd::Unknown,
        // a shell's way to tell a signal
        ProcessEnd::Exited(status @ 129..=192) => ProcessEnd::Signalled(status - 128),
        end => end,
    }
}

/// Takes the greeting off a program that was started with [`wrapped`].
///
/// # Errors
/// The mark does not come.
pub(super) async fn greeted(process: Process) -> Result<Process, TransportError> {
    let Process { stdin, mut stdout, mut stderr, mut control } = process;
    let mut said = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let end = loop {
        if let Some(at) = said.windows(MARK.len()).position(|window| window == MARK) {
            break at + MARK.len();
        }
        let n = stdout.read(&mut chunk).await.unwrap_or_default();
        if n == 0 {
            // an error of the connection says more
            let end = control.wait().await?;
            let why = bounded(&mut stderr).await;
            return Err(unstarted(end, &[why, said].concat()));
        }
        if said.len() > GREETING_BYTES {
            return Err(refused(&format!("its login shell does not stop greeting: {}", text(&said))));
        }
        said.extend(chunk.get(..n).unwrap_or_default());
    };
    let rest = Cursor::new(said.split_off(end));
    Ok(Process { stdin, stdout: Box::new(rest.chain(stdout)), stderr, control })
}

fn unstarted(end: ProcessEnd, said: &[u8]) -> TransportError {
    match end {
        // the connection went, or `ssh` did
        ProcessEnd::Unknown => TransportError::Lost { doing: STARTING.to_owned(), reason: text(said) },
        end => refused(&format!("its login shell {end}: {}", text(said))),
    }
}

fn refused(reason: &str) -> TransportError {
    TransportError::Refused { doing: STARTING.to_owned(), reason: reason.to_owned() }
}

fn text(said: &[u8]) -> String {
    harmless(&String::from_utf8_lossy(said))
}

/// Runs a program that was started to its end, with nothing on its stdin.
///
/// # Errors
/// The connection went first.
pub(super) async fn finished(process: Process) -> Result<Output, TransportError> {
    let Process { stdin, mut stdout, mut stderr, mut control } = process;
    drop(stdin);
    let (stdout, stderr) = tokio::join!(bounded(&mut stdout), bounded(&mut stderr));
    let status = match control.wait().await? {
        ProcessEnd::Exited(status) => status,
        ProcessEnd::Signalled(signal) => 128 + signal,
        ProcessEnd::Unknown => {
            return Err(TransportError::Lost {
                doing: "running a command".to_owned(),
                reason: "it ended without a status".to_owned(),
            });
        }
    };
    Ok(Output { status, stdout, stderr })
}

/// The beginning of what is printed; the rest is read and dropped, so that the program can end.
pub(super) async fn bounded(from: &mut (dyn AsyncRead + Send + Unpin)) -> Vec<u8> {
    let (mut kept, mut chunk) = (Vec::new(), vec![0; CHUNK_BYTES]);
    loop {
        match from.read(&mut chunk).await {
            Ok(n) if n > 0 => {
                let room = OUTPUT_BYTES.saturating_sub(kept.len());
                kept.extend_from_slice(chunk.get(..n.min(room)).unwrap_or_default());
            }
            // how it broke is told by the end of the program
            Ok(_) | Err(_) => return kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::remote::quote, *};
    use proptest::prelude::*;
    use std::process::Command;

    fn through(shell: &str, script: &str) -> String {
        let output = Command::new(shell).arg("-c").arg(wrapped(script)).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.strip_prefix("\nbench-begin\n").unwrap().to_owned()
    }

    const HOSTILE: &str = "a b'c\"d$(id)`id`!x\\n\\\\%s%%\n\t-\u{1b}[31m ü\n";

    #[test]
    fn words_arrive_as_they_were_through_every_shell_that_is_here() {
        let script = format!("printf '%s|' {} \"$$\"; exit 0", quote(HOSTILE).unwrap());
        for shell in ["sh", "bash", "dash", "mksh", "zsh", "fish", "csh", "tcsh"] {
            if Command::new(shell).arg("-c").arg("exit").output().is_err() {
                println!("left out: {shell} is not installed");
            } else {
                assert!(through(shell, &script).starts_with(&format!("{HOSTILE}|")), "{shell}");
            }
        }
    }

    #[test]
    fn a_script_that_ended_well_is_told_from_one_of_which_nothing_was_heard() {
        let status = |script: &str| {
            let status = Command::new("sh").arg("-c").arg(wrapped(&sealed(script))).output().unwrap().status;
            ProcessEnd::Exited(status.code().unwrap())
        };
        for (script, end) in [("true", 0), ("exit 0", 0), ("false # no", 1), ("exit 113", 1), ("exit 37", 37)]
        {
            assert_eq!(opened(status(script)), ProcessEnd::Exited(end), "{script}");
        }
        assert_eq!(opened(ProcessEnd::Exited(0)), ProcessEnd::Unknown);
        assert_eq!(opened(ProcessEnd::Signalled(9)), ProcessEnd::Signalled(9));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_word_arrives_as_it_was(word in "[^\0]{0,60}") {
            let script = format!("printf '%s|' {}", quote(&word).unwrap());
            prop_assert_eq!(through("sh", &script), format!("{word}|"));
        }
    }
}
