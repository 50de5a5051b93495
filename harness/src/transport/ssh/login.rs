//! Who we are: keys of an agent, key files, a password, in the order of OpenSSH, with what was tried told when
//! nothing helps. Blocks; runs on the thread of a connection that is being made.

use super::{
    super::{TransportError, remote::harmless},
    config::{AgentPlace, HostConfig},
    connection::Connection,
    known_hosts::public_key,
    terminal::{self, Ask, PASSWORD_FD},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ssh2::{Agent, KeyboardInteractivePrompt, Prompt, PublicKey, Session};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Wrong answers of a person until that way is given up: OpenSSH's own.
const ANSWERS: usize = 3;

/// A server's questions are answered within one call of libssh2, which counts from its start: as long as a person may
/// take. Servers wait for 120 s.
const QUESTIONS_MS: u32 = 120_000;

/// A private key is a few KiB.
const MAX_KEY_BYTES: u64 = 64 * 1024;

/// Most letters of a server's question that are shown.
const MAX_QUESTION: usize = 80;

/// Logs in.
///
/// # Errors
/// `Lost`: the machine is gone. `Unusable`: nothing that could be tried helped; it says what was tried and what the server would take.
pub(super) fn log_in(connection: &Connection, config: &HostConfig, ask: Ask) -> Result<(), TransportError> {
    let session = &connection.session;
    let offered = match session.auth_methods(&config.user) {
        Ok(methods) => methods.to_owned(),
        Err(_) if session.authenticated() => return Ok(()),
        Err(e) => return Err(lost(config, &e.to_string())),
    };
    let offers = |method: &str| offered.split(',').any(|m| m == method);
    let mut login = Login { session, config, ask, tried: Vec::new() };
    let mut inside = offers("publickey") && login.keys();
    if !inside && offers("password") {
        inside = login.password();
    } else if !inside && offers("keyboard-interactive") {
        inside = login.questions();
    }
    let hung_up = !connection.is_open();
    match inside {
        true => Ok(()),
        // one that hangs up after several tries has had enough of us; before that it is gone
        false if hung_up && login.tried.len() < 2 => Err(lost(config, "it hung up")),
        false => Err(login.refused(&offered, hung_up)),
    }
}

struct Login<'a> {
    session: &'a Session,
    config: &'a HostConfig,
    ask: Ask,
    /// What did not help, and why.
    tried: Vec<String>,
}

/// A key of which at least one half lies in a file.
struct KeyFile<'a> {
    path: &'a Path,
    /// Its public half, where that lies beside it.
    public: Option<PathBuf>,
    blob: Option<Vec<u8>>,
    secret: Secret,
}

/// What is needed to use a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secret {
    /// Nothing more.
    Open,
    /// Its passphrase.
    Locked,
    /// A device that only `ssh` can talk to.
    Hardware,
    /// An agent that has the private half.
    Elsewhere,
}

impl Login<'_> {
    /// Keys that the user named, from the agent where it has them; then other keys of the agent.
    fn keys(&mut self) -> bool {
        let files: Vec<KeyFile> = self.config.identities.iter().filter_map(|path| key_file(path)).collect();
        let named = |key: &PublicKey| files.iter().any(|f| f.blob.as_deref() == Some(key.blob()));
        let (agent, keys) = self.agent().unzip();
        let (first, rest): (Vec<PublicKey>, Vec<PublicKey>) =
            keys.unwrap_or_default().into_iter().partition(named);
        let try_agent = |login: &mut Self, keys: &[PublicKey]| {
            agent.as_ref().is_some_and(|agent| keys.iter().any(|key| login.agent_key(agent, key)))
        };
        try_agent(self, &first)
            || files.iter().any(|file| self.file(file))
            || !self.config.identities_only && try_agent(self, &rest)
    }

    fn agent(&mut self) -> Option<(Agent, Vec<PublicKey>)> {
        let mut agent = self.session.agent().ok()?;
        match &self.config.agent {
            AgentPlace::Nowhere => return None,
            AgentPlace::Usual => {}
            AgentPlace::At(path) => agent.set_identity_path(path).ok()?,
        }
        if agent.connect().is_err() {
            self.tried.push("an agent (none answers)".to_owned());
            return None;
        }
        agent.list_identities().ok()?;
        let keys = agent.identities().ok()?;
        if keys.is_empty() {
            self.tried.push("an agent (it has no keys)".to_owned());
        }
        Some((agent, keys))
    }

    fn agent_key(&mut self, agent: &Agent, key: &PublicKey) -> bool {
        let inside = agent.userauth(&self.config.user, key).is_ok();
        if !inside {
            self.tried.push(format!("key {} of the agent", harmless(key.comment())));
        }
        inside
    }

    fn file(&mut self, file: &KeyFile) -> bool {
        let told = match file.secret {
            Secret::Hardware => Err("it lies in a hardware key".to_owned()),
            Secret::Elsewhere => Err("no agent has its private half".to_owned()),
            Secret::Locked => self.locked_file(file),
            Secret::Open => self.unlock(file, None).map_err(|e| e.message().to_owned()),
        };
        match told {
            Ok(()) => true,
            Err(why) => {
                self.tried.push(format!("key {} ({})", file.path.display(), harmless(&why)));
                false
            }
        }
    }

    fn unlock(&self, file: &KeyFile, passphrase: Option<&str>) -> Result<(), ssh2::Error> {
        self.session.userauth_pubkey_file(&self.config.user, file.public.as_deref(), file.path, passphrase)
    }

    /// A passphrase is asked for only when the server would take the key, as far as that can be known.
    fn locked_file(&self, file: &KeyFile) -> Result<(), String> {
        if file.public.is_some() {
            match self.unlock(file, Some("")) {
                Ok(()) => return Ok(()),
                Err(e) if is_unwanted(&e) => return Err(e.message().to_owned()),
                Err(_) => {}
            }
        }
        let question = format!("Passphrase of {}", file.path.display());
        for _ in 0..ANSWERS {
            let passphrase = terminal::secret(self.ask, &question).map_err(|why| {
                format!("it is locked with a passphrase, and {why}: unlock it with ssh-add")
            })?;
            match self.unlock(file, Some(&passphrase)) {
                Ok(()) => return Ok(()),
                Err(e) if is_unwanted(&e) => return Err(e.message().to_owned()),
                // libssh2 has no word for it: a wrong passphrase reads as a file that it cannot understand
                Err(_) => terminal::forget(&question),
            }
        }
        Err(format!("the passphrase was wrong {ANSWERS} times"))
    }

    fn password(&mut self) -> bool {
        let question = self.question();
        let user = &self.config.user;
        let told = match terminal::handed_over() {
            Some(password) => password.and_then(|password| {
                self.session.userauth_password(user, &password).map_err(|e| e.message().to_owned())
            }),
            None => (0..ANSWERS)
                .find_map(|_| match terminal::secret(self.ask, &question) {
                    Err(why) => Some(Err(format!("{why}; {PASSWORD_FD} can name a descriptor with it"))),
                    Ok(password) => match self.session.userauth_password(user, &password) {
                        Ok(()) => Some(Ok(())),
                        Err(_) => {
                            terminal::forget(&question);
                            None
                        }
                    },
                })
                .unwrap_or_else(|| Err(format!("wrong {ANSWERS} times"))),
        };
        self.note("a password", told)
    }

    /// A server that asks questions of its own, which is mostly one for the password.
    fn questions(&mut self) -> bool {
        let mut answerer = Answerer { question: self.question(), ask: self.ask, failed: None };
        let usual = self.session.timeout();
        self.session.set_timeout(QUESTIONS_MS);
        let told = self
            .session
            .userauth_keyboard_interactive(&self.config.user, &mut answerer)
            .map_err(|e| answerer.failed.take().unwrap_or_else(|| e.message().to_owned()));
        self.session.set_timeout(usual);
        if told.is_err() {
            terminal::forget(&answerer.question);
        }
        self.note("a password", told)
    }

    fn question(&self) -> String {
        format!("Password of {}@{}", self.config.user, self.config.named())
    }

    fn note(&mut self, what: &str, told: Result<(), String>) -> bool {
        match told {
            Ok(()) => true,
            Err(why) => {
                self.tried.push(format!("{what} ({})", harmless(&why)));
                false
            }
        }
    }

    fn refused(&self, offered: &str, hung_up: bool) -> TransportError {
        let (user, named, address) = (&self.config.user, self.config.named(), &self.config.address);
        let tried = match self.tried.as_slice() {
            [] => "nothing, for want of an agent and of key files".to_owned(),
            tried => tried.join(", "),
        };
        let help = if hung_up {
            "It hung up, as after too many keys: name the right one with IdentityFile, and say IdentitiesOnly yes, in \
             ~/.ssh/config"
                .to_owned()
        } else {
            let (ssh, copy) = (address.typed("ssh"), address.typed("ssh-copy-id"));
            format!("If `{ssh}` works, openssh:{address} uses it; else `{copy}` gives it your key")
        };
        let offered = harmless(offered);
        TransportError::Unusable(format!(
            "{named} does not let {user} in. Tried: {tried}. It takes: {offered}. {help}"
        ))
    }
}

/// Answers a server's questions: the first that is not to be shown is taken for the one about the password.
struct Answerer {
    question: String,
    ask: Ask,
    failed: Option<String>,
}

impl KeyboardInteractivePrompt for Answerer {
    fn prompt<'a>(&mut self, _user: &str, _instructions: &str, prompts: &[Prompt<'a>]) -> Vec<String> {
        let answer = |prompt: &Prompt<'a>| {
            let theirs: String = harmless(&prompt.text).chars().take(MAX_QUESTION).collect();
            match terminal::handed_over() {
                Some(password) if !prompt.echo => password,
                Some(_) => Err(format!("it asks {theirs:?}")),
                // what is asked may differ every time: nothing of it is remembered but the password
                None if theirs.to_lowercase().contains("password") => {
                    terminal::secret(self.ask, &self.question)
                }
                None => (self.ask)(&format!("{}: {theirs}", self.question)),
            }
        };
        let answers: Result<Vec<String>, String> = prompts.iter().map(answer).collect();
        answers.unwrap_or_else(|why| {
            self.failed = Some(why);
            vec![String::new(); prompts.len()]
        })
    }
}

fn lost(config: &HostConfig, reason: &str) -> TransportError {
    TransportError::Lost { doing: format!("logging in on {}", config.named()), reason: harmless(reason) }
}

/// The server would not take this key, whoever holds it.
fn is_unwanted(error: &ssh2::Error) -> bool {
    error.message().contains("combination invalid") || error.message().contains("Waiting for")
}

/// The key at `path`; `None`: nothing is there.
fn key_file(path: &Path) -> Option<KeyFile<'_>> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    let beside = PathBuf::from(beside);
    let (private, public) = (read(path).ok(), read(&beside).ok());
    let secret = match &private {
        Some(text) if !text.contains("PRIVATE KEY") => Secret::Elsewhere,
        Some(_) if public.as_ref().is_some_and(|text| text.starts_with("sk-")) => Secret::Hardware,
        Some(text) if is_locked(text) => Secret::Locked,
        Some(_) => Secret::Open,
        None => Secret::Elsewhere,
    };
    let has_public = public.is_some();
    let text = if secret == Secret::Elsewhere { public.or(private)? } else { public.unwrap_or_default() };
    let blob = public_key(&text);
    Some(KeyFile { path, public: (has_public && blob.is_some()).then_some(beside), blob, secret })
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_KEY_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Whether a private key needs a passphrase: by the words of PEM, or by the cipher named in OpenSSH's own format.
fn is_locked(text: &str) -> bool {
    const OPENSSH: &[u8] = b"openssh-key-v1\0";
    const NO_CIPHER: &[u8] = b"\0\0\0\x04none";
    let body: String = text.lines().filter(|line| !line.starts_with('-')).map(str::trim).collect();
    match STANDARD.decode(body).ok().as_deref().and_then(|bytes| bytes.strip_prefix(OPENSSH)) {
        Some(rest) => !rest.starts_with(NO_CIPHER),
        None => text.contains("ENCRYPTED"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn openssh(cipher: &str) -> String {
        let mut bytes = b"openssh-key-v1\0".to_vec();
        bytes.extend(u32::try_from(cipher.len()).unwrap().to_be_bytes());
        bytes.extend(cipher.as_bytes());
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END-----\n", STANDARD.encode(bytes))
    }

    #[test]
    fn a_locked_key_is_seen_without_its_passphrase() {
        assert!(is_locked(&openssh("aes256-ctr")) && !is_locked(&openssh("none")));
        assert!(is_locked("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"));
        assert!(
            is_locked("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
                && !is_locked("-----BEGIN PRIVATE KEY-----\n")
        );
    }

    #[test]
    fn a_key_may_lie_in_halves() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (line, blob) = (format!("ssh-ed25519 {} me", STANDARD.encode("blob")), Some(b"blob".to_vec()));
        let whole = path("whole", &openssh("none"));
        assert_eq!(key_file(&whole).unwrap().secret, Secret::Open);
        path("whole.pub", &line);
        let found = key_file(&whole).unwrap();
        assert!(found.public.is_some() && found.blob == blob);
        let public = path("half.pub", &line);
        for place in [folder.path().join("half"), public] {
            let found = key_file(&place).unwrap();
            assert_eq!((found.secret, found.blob), (Secret::Elsewhere, blob.clone()), "{place:?}");
        }
        let hardware = path("hardware", &openssh("none"));
        path("hardware.pub", &format!("sk-{line}"));
        assert_eq!(key_file(&hardware).unwrap().secret, Secret::Hardware);
        assert!(key_file(&folder.path().join("nothing")).is_none());
    }

    proptest! {
        #[test]
        fn whatever_a_key_file_holds_nothing_breaks(text in "(?s).{0,300}") {
            is_locked(&text);
            public_key(&text);
        }
    }
}
