//! What a device's shell is told, and what is made of its answers: pure. POSIX words only, so that Android's
//! mksh and toybox, a Pi's dash and an embedded busybox all understand them.

use super::{
    super::{HostFile, Probe, Tidied, TransportError, libc, libc::Libc},
    Output,
};
use protocol::Sha256Hex;
use std::{path::PathBuf, time::Duration};

/// Names given to one `rm`: a command line of Android has 128 KiB.
pub(super) const NAMES_AT_A_TIME: usize = 200;

/// Files listed at most: a cache of 2 GiB has some hundred.
const MAX_FILES: usize = 20_000;

/// A part that nobody has written to for so long belongs to a transfer that broke.
const PART_AGE_S: u64 = 3600;

/// Longest path of a cache folder: a file name of ours must still fit behind it.
const MAX_CACHE: usize = 1024;

/// A word that a POSIX shell takes for exactly `text`, whatever is in it.
///
/// # Errors
/// It has a NUL, which no command line can hold.
pub(in super::super) fn quote(text: &str) -> Result<String, TransportError> {
    if text.contains('\0') {
        return Err(TransportError::Refused {
            doing: "naming".to_owned(),
            reason: format!("{text:?} has a NUL in it"),
        });
    }
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// What [`probe`] says of a cache folder that is of no use.
const NO_CACHE: &str = "bench-no-cache";

/// Makes our folders, tries whether files can be made in them, and tells what is to be known. A disk that is full is
/// told by whoever writes, and room is made then. `cache` is a word of shell.
pub(super) fn probe(cache: &str) -> String {
    format!(
        "umask 077; c={cache}; e=$( (mkdir -p \"$c/files\" \"$c/run\" \"$c/agent\" && cd \"$c\" && \
         : > files/.probe && : > run/.probe && : > agent/.probe && rm -f files/.probe run/.probe agent/.probe) 2>&1) || \
         case $e in *'No space'*) ;; *) echo {NO_CACHE}; printf '%s\\n' \"$c\" \"$e\"; exit 0;; esac; \
         cd \"$c\" || exit 1; \
         command -v sha256sum >/dev/null || {{ echo 'sha256sum is missing' >&2; exit 1; }}; \
         echo bench-probe; uname -m; pwd; {}; df -Pk .",
        libc::SCRIPT
    )
}

/// The answer to [`probe`].
pub(super) fn probed(output: &str) -> Result<Probe, TransportError> {
    let mut lines = output.lines();
    let odd = |what: &str| TransportError::Refused {
        doing: "probing".to_owned(),
        reason: format!(
            "its shell answered without {what}: {:?}",
            output.chars().take(200).collect::<String>()
        ),
    };
    // a login script may greet first
    let word = lines.find(|line| ["bench-probe", NO_CACHE].contains(line));
    if word.ok_or_else(|| odd("the word that was asked for"))? == NO_CACHE {
        return Err(no_cache(lines));
    }
    let machine = lines.next().ok_or_else(|| odd("its architecture"))?;
    let cache = lines.next().filter(|c| c.starts_with('/')).ok_or_else(|| odd("the cache folder"))?;
    if cache.len() > MAX_CACHE {
        return Err(odd("a cache folder of bearable length"));
    }
    let rest: Vec<&str> = lines.collect();
    let libc =
        rest.iter().map(|line| libc::parsed(line)).find(|libc| *libc != Libc::Unknown).unwrap_or_default();
    // device, blocks, used, free, share, mounted on
    let free_kib = rest.last().and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    Ok(Probe {
        arch: arch(machine).to_owned(),
        libc,
        cache: PathBuf::from(cache),
        free_bytes: free_kib.map(|kib| kib.saturating_mul(1024)),
        agent: None,
    })
}

/// Why the cache folder is of no use: the folder, then what the programs said. The first of them met the cause.
fn no_cache<'a>(mut lines: impl Iterator<Item = &'a str>) -> TransportError {
    let folder = harmless(lines.next().unwrap_or_default());
    let said = last_words(lines.find(|line| !line.trim().is_empty()).unwrap_or_default().as_bytes());
    // the cause stands behind the last colon
    let reason = said.rsplit(": ").next().unwrap_or_default().to_owned();
    TransportError::NoCache { folder, reason, setting: SETTING }
}

/// The setting that names another folder.
pub(super) const SETTING: &str = "`cache` in devices.toml";

/// The kernel's word for an instruction set, as Rust names it.
pub(in super::super) fn arch(machine: &str) -> &str {
    match machine {
        "arm64" => "aarch64",
        // an armv6l is none: it would die of the first instruction that it does not have
        "armv7l" | "armv8l" => "arm",
        "amd64" => "x86_64",
        "i486" | "i586" | "i686" => "x86",
        other => other,
    }
}

/// Prints the hash of a file that may be there, and notes that it is used.
pub(super) fn used(path: &str) -> String {
    format!("if [ -f {path} ]; then sha256sum < {path}; touch -c {path}; fi 2>/dev/null; true")
}

/// Gives a part its name when its content is right, and the time of the device's own clock, by which files
/// are tidied; prints the hash that it has.
pub(super) fn place(part: &str, place: &str, file: &HostFile) -> String {
    let mode = if file.executable { "700" } else { "600" };
    format!(
        "h=$(sha256sum < {part}) || exit 1; case $h in {sha256}*) chmod {mode} {part} && touch {part} && mv -f {part} {place};; \
         *) rm -f {part};; esac || exit 1; echo \"$h\"",
        sha256 = file.sha256,
    )
}

/// Deletes a file.
pub(super) fn delete(path: &str) -> String {
    format!("rm -f {path}")
}

/// Deletes files of a folder; the names are ours, and need no quotes.
pub(super) fn delete_in(folder: &str, names: &[String]) -> String {
    format!("cd {folder} && rm -f {}", names.join(" "))
}

/// Notes the process id, then becomes the program.
pub(super) fn start(note: &str, words: &str) -> String {
    format!("{{ echo $$ > {note}; }} 2>/dev/null; exec {words}")
}

/// Kills what noted its process id, and its whole group where it leads one.
pub(super) fn kill(note: &str) -> String {
    format!(
        "p=$(cat {note} 2>/dev/null); rm -f {note}; case $p in ''|*[!0-9]*) ;; \
         *) kill -s KILL -- -$p || kill -s KILL $p;; esac 2>/dev/null; true"
    )
}

/// Prints `agent` and a process id when an agent holds the lock of the folder it works in. The lock itself cannot be
/// asked for by every shell; its file names a process by id and time of start, in whatever form somebody left it.
const HOLDER: &str = r#"( set -f; [ -f agent/agent.lock ] || exit; set -- $(head -c 40 agent/agent.lock)
p=${1#"${1%%[!0]*}"}; t=${2#"${2%%[!0]*}"}; case $p:$t in :*|*:|*[!0-9:]*) exit;; esac
s=$(cat "/proc/$p/stat") || exit; set -- ${s##*) }; [ "${20}" = "$t" ] && echo "agent $p" ) 2>/dev/null"#;

/// Prints the time, then who is measuring there, then time of last use, size and name of every pushed file. On the
/// way, forgets the notes of programs that are gone. More files than a command line can name are listed too.
pub(super) fn list(cache: &str) -> String {
    format!(
        "date +%s; cd {cache} || exit 1; {HOLDER}; for n in run/*; do kill -0 \"$(cat \"$n\")\" || rm -f \"$n\"; done \
         2>/dev/null; cd files && find . -maxdepth 1 -type f -exec stat -c '%Y %s %n' {{}} + 2>/dev/null; true"
    )
}

/// Which of the listed files have to go, and what that leaves.
pub(super) fn choose(
    listing: &str,
    keep: &[Sha256Hex],
    limit_bytes: u64,
    spare: Duration,
) -> (Tidied, Vec<String>) {
    let now: u64 = listing.lines().next().and_then(|line| line.trim().parse().ok()).unwrap_or_default();
    let mut files: Vec<(u64, u64, &str)> =
        listing.lines().skip(1).take(MAX_FILES).filter_map(listed).collect();
    files.sort_unstable();
    let mut tidied = Tidied {
        left_bytes: files.iter().fold(0, |sum, (_, bytes, _)| sum.saturating_add(*bytes)),
        busy: listing.lines().nth(1).and_then(holder),
        ..Tidied::default()
    };
    let mut doomed = Vec::new();
    if tidied.busy.is_some() {
        return (tidied, doomed);
    }
    for (used, bytes, name) in files {
        let broken = name.len() > SHA256_CHARS && used.saturating_add(PART_AGE_S) < now;
        let kept = keep.iter().any(|sha256| name.starts_with(sha256.as_str()))
            || now.saturating_sub(used) < spare.as_secs();
        if broken || !kept && tidied.left_bytes > limit_bytes && name.len() == SHA256_CHARS {
            tidied.files += 1;
            tidied.freed_bytes = tidied.freed_bytes.saturating_add(bytes);
            tidied.left_bytes = tidied.left_bytes.saturating_sub(bytes);
            doomed.push(name.to_owned());
        }
    }
    (tidied, doomed)
}

const SHA256_CHARS: usize = 64;

/// What [`HOLDER`] printed, in words.
fn holder(line: &str) -> Option<String> {
    let pid: u32 = line.strip_prefix("agent ")?.parse().ok()?;
    Some(format!("agent {pid}"))
}

/// Time, size and name, of a file whose name is one of ours.
fn listed(line: &str) -> Option<(u64, u64, &str)> {
    let mut words = line.splitn(3, ' ');
    let (used, bytes, name) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
    let name = name.strip_prefix("./").unwrap_or(name);
    let (hash, rest) = name.split_at_checked(SHA256_CHARS)?;
    let ours = hash.bytes().all(|b| b.is_ascii_hexdigit())
        && (rest.is_empty() || rest.starts_with(".part-"))
        && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    ours.then_some((used, bytes, name))
}

/// The hash that `sha256sum` printed, where it printed one.
pub(super) fn hash_in(printed: &str) -> Option<&str> {
    let word = printed.split_whitespace().next()?;
    (word.len() == SHA256_CHARS && word.bytes().all(|b| b.is_ascii_hexdigit())).then_some(word)
}

/// A file that is not what it should be; `found` is what the device says its hash is.
pub(super) fn damaged(path: &str, expected: &Sha256Hex, found: Option<&str>) -> TransportError {
    match found.and_then(|hash| hash.parse().ok()) {
        Some(found) => TransportError::Damaged { path: path.to_owned(), expected: expected.clone(), found },
        None => TransportError::Refused {
            doing: "verifying".to_owned(),
            reason: format!("its sha256sum told no hash of {path}"),
        },
    }
}

/// What a script printed, when it ended well.
pub(super) fn checked(doing: &str, output: Output) -> Result<String, TransportError> {
    if output.status == 0 {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = last_words(&output.stderr);
    let reason =
        if said.is_empty() { format!("its shell ended with status {}", output.status) } else { said };
    Err(TransportError::Refused { doing: doing.to_owned(), reason })
}

/// The last line that a script wrote on its stderr, without what its shell says of itself and of the script.
pub(in super::super) fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let is_number = |word: &str| {
        let word = word.strip_prefix("line ").unwrap_or(word);
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
    };
    let is_shell = |word: &str| {
        let name = word.rsplit('/').next().unwrap_or_default();
        ["sh", "-sh", "dash", "bash", "mksh", "ash", "W", "E"].contains(&name)
            || ["eval", "<stdin>"].contains(&name)
            || is_number(word)
    };
    let mut rest = line;
    while let Some((word, after)) = rest.split_once(": ")
        && is_shell(word)
    {
        rest = after;
    }
    harmless(rest)
}

/// The end of what a device said, on one line and without control characters.
pub(in super::super) fn harmless(text: &str) -> String {
    const CHARS: usize = 300;
    let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let surplus = line.chars().count().saturating_sub(CHARS);
    line.chars().skip(surplus).collect()
}

/// Why a file could not be placed, by the name that the user knows, `places` being those on the device. A refusal for
/// want of space is told as such.
pub(super) fn unplaced(error: TransportError, file: &HostFile, places: &[&str]) -> TransportError {
    let named = |text: String| places.iter().fold(text, |text, place| text.replace(place, &file.name));
    match error {
        TransportError::Refused { reason, .. } if is_full(&reason) => {
            TransportError::NoSpace { path: file.name.clone(), needed: file.bytes, setting: SETTING }
        }
        TransportError::Refused { doing, reason } => {
            TransportError::Refused { doing: named(doing), reason: named(reason) }
        }
        TransportError::Lost { doing, reason } => {
            TransportError::Lost { doing: named(doing), reason: named(reason) }
        }
        other => other,
    }
}

fn is_full(reason: &str) -> bool {
    ["No space left", "Disk quota exceeded", "File too large"].iter().any(|words| reason.contains(words))
}
