//! Where the server is, who we are to it, and how much may lie there. Reads no arguments and no variables.

use crate::queue::{LEASE, MAX_JOBS, PRESENCE};
use async_nats::ServerAddr;
use std::{fmt, path::PathBuf, time::Duration};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The farm that is meant when none is named.
pub const DEFAULT_FARM: &str = "farm";
/// Characters of a farm's name: it is part of every name on the server.
const MAX_FARM_CHARS: usize = 32;

/// How a server is reached, and as whom.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// `nats://host:4222`, `tls://host:4222`; several of a cluster with commas between. With `user:password@` before
    /// the host where the server knows users.
    pub url: String,
    /// Which farm: several share a server without knowing of each other. Letters, digits, `-`, `_`.
    pub farm: String,
    /// Who we are; what stands in the URL goes first.
    pub identity: Identity,
    /// How the server proves who it is, and we to it.
    pub tls: TlsFiles,
    /// How much may lie on the server, and how long.
    pub limits: Limits,
}

impl NatsOptions {
    /// That server, without credentials.
    pub fn of(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            farm: DEFAULT_FARM.to_owned(),
            identity: Identity::Nobody,
            tls: TlsFiles::default(),
            limits: Limits::default(),
        }
    }

    /// The addresses in the URL.
    ///
    /// # Errors
    /// Words about what is wrong with it; without the password that may stand in it.
    pub(super) fn addresses(&self) -> Result<Vec<ServerAddr>, String> {
        let wrong = "write nats://HOST:4222, or tls://HOST:4222, several with commas between";
        let parts: Vec<&str> = self.url.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Err(format!("the address of the server is empty: {wrong}"));
        }
        let addresses = parts.iter().map(|part| part.parse::<ServerAddr>());
        let addresses = addresses.collect::<Result<Vec<_>, _>>();
        let addresses =
            addresses.map_err(|_| format!("{} is no address of a server: {wrong}", self.shown()))?;
        match addresses.iter().find(|address| !["nats", "tls"].contains(&address.scheme())) {
            Some(other) => Err(format!("{}:// is not spoken here: {wrong}", other.scheme())),
            None => Ok(addresses),
        }
    }

    /// The URL without what is secret.
    pub fn shown(&self) -> String {
        let hide = |part: &str| match (part.split_once("://"), part.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            (None, Some((_, host))) => host.to_owned(),
            _ => part.to_owned(),
        };
        self.url.split(',').map(str::trim).map(hide).collect::<Vec<_>>().join(",")
    }

    /// # Errors
    /// Words about a name that cannot be part of the names on the server.
    pub(super) fn check_farm(&self) -> Result<(), String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        match !self.farm.is_empty() && self.farm.len() <= MAX_FARM_CHARS && self.farm.chars().all(fits) {
            true => Ok(()),
            false => Err(format!(
                "{:?} cannot be the name of a farm on a server: at most {MAX_FARM_CHARS} letters, digits, - and _",
                self.farm
            )),
        }
    }
}

/// Who we are to the server.
#[derive(Clone, Default)]
pub enum Identity {
    /// A server that asks nobody.
    #[default]
    Nobody,
    /// A `.creds` file: a JWT and the seed of its key.
    Credentials(PathBuf),
    /// A file with the seed of an NKey.
    NKey(PathBuf),
    /// A token.
    Token(String),
    /// A user with password.
    User {
        /// Name.
        name: String,
        /// Password.
        password: String,
    },
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("Nobody"),
            Self::Credentials(path) => f.debug_tuple("Credentials").field(path).finish(),
            Self::NKey(path) => f.debug_tuple("NKey").field(path).finish(),
            Self::Token(_) => f.write_str("Token"),
            Self::User { name, .. } => f.debug_struct("User").field("name", name).finish_non_exhaustive(),
        }
    }
}

/// Files for TLS, all PEM.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Who may vouch for the server, instead of whom the system trusts. With it, only TLS is spoken.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// How much may lie on the server, and how long. They hold for what is made; what is there already stays as it is, so
/// that who runs the server may choose.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Jobs that wait or are worked on.
    pub jobs: u64,
    /// Their bytes: a job is about a kilobyte, and one more per five files.
    pub jobs_bytes: u64,
    /// A job that nobody took goes away: its night is long over.
    pub jobs_age: Duration,
    /// Results.
    pub results_bytes: u64,
    /// Results and known jobs go away. More than `jobs_age`, or a job might come back.
    pub results_age: Duration,
    /// Models and data.
    pub files_bytes: u64,
    /// Archives of runs that were not collected.
    pub records_bytes: u64,
    /// Files and archives go away; a file that is used is put in again in time.
    pub objects_age: Duration,
    /// A lease ends when it was not extended for so long.
    pub lease: Duration,
    /// A device that was not announced for so long is gone.
    pub presence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            jobs: MAX_JOBS as u64,
            jobs_bytes: 256 * MIB,
            jobs_age: 7 * DAY,
            results_bytes: 256 * MIB,
            results_age: 30 * DAY,
            files_bytes: 4 * GIB,
            records_bytes: 4 * GIB,
            objects_age: 14 * DAY,
            lease: LEASE,
            presence: PRESENCE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_shown_without_secrets() {
        let shown = |url: &str| NatsOptions::of(url).shown();
        assert_eq!(shown("nats://me:pa@ss@host:4222, tls://other"), "nats://host:4222,tls://other");
        assert_eq!(shown("token@host"), "host");
        for good in ["host", "nats://host", "tls://u:p@host:1,nats://b"] {
            NatsOptions::of(good).addresses().unwrap();
        }
        for (bad, word) in [
            ("", "empty"),
            (" , ", "empty"),
            ("http://me:secret@host", "no address"),
            ("ws://host", "ws:// is not spoken"),
            ("nats://me:secret@host:99999", "no address"),
        ] {
            let why = NatsOptions::of(bad).addresses().unwrap_err();
            assert!(why.contains(word) && why.contains("nats://HOST"), "{why}");
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn a_farm_has_a_name_that_can_stand_in_a_subject() {
        let farm = |name: &str| NatsOptions { farm: name.to_owned(), ..NatsOptions::of("host") }.check_farm();
        farm("lab_2-a").unwrap();
        for bad in ["", "a.b", "a b", "*", &"x".repeat(33)] {
            assert!(farm(bad).unwrap_err().contains("letters"), "{bad}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let user = Identity::User { name: "me".to_owned(), password: "secret".to_owned() };
        let all = format!("{user:?}{:?}", Identity::Token("secret".to_owned()));
        assert!(!all.contains("secret"), "{all}");
    }
}
