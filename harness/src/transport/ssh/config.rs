//! What `~/.ssh/config` says about a machine, as `ssh -G` tells it: that file is never read here. Where there is
//! no `ssh`, the plain defaults. Does not connect.

use super::{
    super::{TransportError, remote::harmless},
    address::Address,
};
use std::{
    env, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{process::Command, time::timeout};

/// `Match exec` lines may run programs, a name service may be slow; longer, and something hangs.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// OpenSSH's own.
const DEFAULT_PORT: u16 = 22;

/// How to reach one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HostConfig {
    /// As the user wrote it.
    pub(super) address: Address,
    /// Name or number of the machine.
    pub(super) hostname: String,
    pub(super) port: u16,
    pub(super) user: String,
    /// Private keys, in the order in which they are tried; some may not exist.
    pub(super) identities: Vec<PathBuf>,
    /// Keys of an agent that are not among `identities` are not tried.
    pub(super) identities_only: bool,
    pub(super) agent: AgentPlace,
    /// The first is where new keys are written.
    pub(super) known_hosts: Vec<PathBuf>,
    pub(super) global_known_hosts: Vec<PathBuf>,
    /// Name under which the host's key is known, instead of its own.
    pub(super) host_key_alias: Option<String>,
    /// Names in known_hosts are hashed.
    pub(super) hash_known_hosts: bool,
    /// There is a machine or a program in between, which only `ssh` itself can go through.
    pub(super) proxied: bool,
}

/// Where the agent with keys listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum AgentPlace {
    /// Where SSH_AUTH_SOCK says.
    #[default]
    Usual,
    /// None is to be used.
    Nowhere,
    /// There.
    At(PathBuf),
}

impl HostConfig {
    /// Asks `ssh`, with the configuration file `file` instead of the usual ones where it is given.
    ///
    /// # Errors
    /// The configuration is broken, or answering takes too long.
    pub(super) async fn ask(address: &Address, file: Option<&Path>) -> Result<Self, TransportError> {
        let home = env::home_dir().unwrap_or_default();
        let mut command = Command::new("ssh");
        command.arg("-G").args(words(address, file)).stdin(Stdio::null()).kill_on_drop(true);
        let unusable = |why: &str| {
            TransportError::Unusable(format!("`ssh -G {}`, which reads ~/.ssh/config, {why}", address.host))
        };
        let output = match timeout(ASK_LIMIT, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(e)) if e.kind() == io::ErrorKind::NotFound => return Self::plain(address, &home),
            Ok(Err(e)) => return Err(unusable(&format!("could not be started: {e}"))),
            Err(_) => return Err(unusable(&format!("did not answer within {} s", ASK_LIMIT.as_secs()))),
        };
        if !output.status.success() {
            return Err(unusable(&format!("failed: {}", harmless(&String::from_utf8_lossy(&output.stderr)))));
        }
        told(address, &home, &String::from_utf8_lossy(&output.stdout))
            .ok_or_else(|| unusable("gave no hostname, user and port"))
    }

    /// What holds without any configuration.
    fn plain(address: &Address, home: &Path) -> Result<Self, TransportError> {
        let user = address.user.clone().or_else(|| env::var("USER").ok()).ok_or_else(|| {
            TransportError::Unusable(format!(
                "nobody says as whom to log in on {0}: write ssh:USER@{0}",
                address.host
            ))
        })?;
        let ssh = home.join(".ssh");
        Ok(Self {
            address: address.clone(),
            hostname: address.host.clone(),
            port: address.port.unwrap_or(DEFAULT_PORT),
            user,
            identities: ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| ssh.join(name)).into(),
            known_hosts: ["known_hosts", "known_hosts2"].map(|name| ssh.join(name)).into(),
            global_known_hosts: vec!["/etc/ssh/ssh_known_hosts".into()],
            ..Self::default()
        })
    }

    /// The name under which the key of this host is known.
    pub(super) fn known_as(&self) -> String {
        match (&self.host_key_alias, self.port) {
            (Some(alias), _) => alias.clone(),
            (None, DEFAULT_PORT) => self.hostname.to_lowercase(),
            (None, port) => format!("[{}]:{port}", self.hostname.to_lowercase()),
        }
    }

    /// A name under which its key may be known, too: that of the host on its usual port, as OpenSSH has it. An alias
    /// stands for itself alone.
    pub(super) fn also_known_as(&self) -> Option<String> {
        let usual = self.host_key_alias.is_some() || self.port == DEFAULT_PORT;
        (!usual).then(|| self.hostname.to_lowercase())
    }

    /// The machine for messages: as the user knows it, and what that stands for where it is something else.
    pub(super) fn named(&self) -> String {
        let host = &self.address.host;
        if *host == self.hostname { host.clone() } else { format!("{host} ({})", self.hostname) }
    }
}

/// The words that name a machine to `ssh`.
pub(super) fn words(address: &Address, file: Option<&Path>) -> Vec<std::ffi::OsString> {
    let mut words = Vec::new();
    if let Some(file) = file {
        words.extend(["-F".into(), file.into()]);
    }
    if let Some(user) = &address.user {
        words.extend(["-l".into(), user.into()]);
    }
    if let Some(port) = address.port {
        words.extend(["-p".into(), port.to_string().into()]);
    }
    words.extend(["--".into(), address.host.clone().into()]);
    words
}

/// What `ssh -G` printed: a key and a value per line.
fn told(address: &Address, home: &Path, output: &str) -> Option<HostConfig> {
    let mut config = HostConfig { address: address.clone(), ..HostConfig::default() };
    let mut identities = Vec::new();
    for line in output.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        let value = value.trim();
        match key {
            "hostname" => config.hostname = value.to_owned(),
            "port" => config.port = value.parse().ok()?,
            "user" => config.user = value.to_owned(),
            "identityfile" => identities.push(value),
            "identitiesonly" => config.identities_only = is_yes(value),
            "identityagent" => config.agent = agent_place(home, value),
            "userknownhostsfile" => config.known_hosts = files(home, value),
            "globalknownhostsfile" => config.global_known_hosts = files(home, value),
            "hostkeyalias" => config.host_key_alias = Some(value.to_lowercase()),
            "hashknownhosts" => config.hash_known_hosts = is_yes(value),
            "proxyjump" | "proxycommand" => config.proxied |= value != "none",
            _ => {}
        }
    }
    if config.hostname.is_empty() || config.user.is_empty() || config.port == 0 {
        return None;
    }
    config.identities = identities.into_iter().filter_map(|value| expanded(&config, home, value)).collect();
    Some(config)
}

fn is_yes(value: &str) -> bool {
    matches!(value, "yes" | "true")
}

fn agent_place(home: &Path, value: &str) -> AgentPlace {
    match value {
        "none" => AgentPlace::Nowhere,
        "SSH_AUTH_SOCK" => AgentPlace::Usual,
        path => AgentPlace::At(at_home(home, path)),
    }
}

/// `ssh -G` prints a list of files without its quotes: a path with spaces in it cannot be told from two paths.
fn files(home: &Path, value: &str) -> Vec<PathBuf> {
    value.split_whitespace().filter(|path| *path != "none").map(|path| at_home(home, path)).collect()
}

fn at_home(home: &Path, path: &str) -> PathBuf {
    path.strip_prefix("~/").map_or_else(|| PathBuf::from(path), |rest| home.join(rest))
}

/// A path with OpenSSH's percent signs replaced; `None` where one is of no use here.
fn expanded(config: &HostConfig, home: &Path, value: &str) -> Option<PathBuf> {
    if value == "none" {
        return None;
    }
    let (mut path, mut chars) = (String::new(), value.chars());
    while let Some(c) = chars.next() {
        if c != '%' {
            path.push(c);
            continue;
        }
        match chars.next()? {
            '%' => path.push('%'),
            'd' => path.push_str(&home.to_string_lossy()),
            'h' => path.push_str(&config.hostname),
            'n' => path.push_str(&config.address.host),
            'p' => path.push_str(&config.port.to_string()),
            'r' => path.push_str(&config.user),
            'u' => path.push_str(&env::var("USER").ok()?),
            _ => return None,
        }
    }
    Some(at_home(home, &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOLD: &str = "host pi\nhostname pi5.lan\nport 2222\nuser pi\nidentityfile ~/.ssh/id_%r\n\
        identityfile /keys/%%d%h\nidentityfile /odd/%Z\nidentitiesonly yes\nidentityagent none\n\
        userknownhostsfile ~/.ssh/known_hosts /etc/more\nhashknownhosts yes\nhostkeyalias PI\nproxycommand none\n";

    fn read(text: &str) -> Option<HostConfig> {
        told(&"pi".parse().unwrap(), Path::new("/home/me"), text)
    }

    #[test]
    fn the_answer_of_ssh_is_understood() {
        let config = read(TOLD).unwrap();
        assert_eq!((config.hostname.as_str(), config.port, config.user.as_str()), ("pi5.lan", 2222, "pi"));
        assert_eq!(config.identities, ["/home/me/.ssh/id_pi", "/keys/%dpi5.lan"].map(PathBuf::from));
        assert!(config.identities_only && config.hash_known_hosts && !config.proxied);
        assert_eq!(config.agent, AgentPlace::Nowhere);
        assert_eq!(config.known_hosts, ["/home/me/.ssh/known_hosts", "/etc/more"].map(PathBuf::from));
        assert_eq!((config.known_as().as_str(), config.named().as_str()), ("pi", "pi (pi5.lan)"));
        assert!(read(&format!("{TOLD}proxyjump gate\n")).unwrap().proxied);
        assert_eq!(read("hostname h\nport x\nuser u\n"), None);
        assert_eq!(read("hostname h\nport 22\n"), None);
    }

    #[test]
    fn a_key_is_known_by_name_and_port() {
        let config = HostConfig { hostname: "Pi".to_owned(), port: 22, ..HostConfig::default() };
        assert_eq!(config.known_as(), "pi");
        assert_eq!(config.also_known_as(), None);
        let elsewhere = HostConfig { port: 2222, ..config };
        assert_eq!(elsewhere.known_as(), "[pi]:2222");
        assert_eq!(elsewhere.also_known_as().as_deref(), Some("pi"));
        let alias = HostConfig { host_key_alias: Some("other".to_owned()), ..elsewhere };
        assert_eq!((alias.known_as().as_str(), alias.also_known_as()), ("other", None));
    }

    proptest! {
        #[test]
        fn whatever_ssh_says_nothing_breaks(text in "(?s).{0,400}", value in "\\PC{0,60}") {
            read(&text);
            for key in ["port", "identityfile", "userknownhostsfile", "identityagent"] {
                read(&format!("{TOLD}{key} {value}\n"));
            }
        }
    }
}
