//! How a NATS server is named on the command line, and in the variables that other programs of NATS read, too.

use crate::exit::{CommandResult, Exit, Failure};
use farm::queue::{
    QueueError,
    nats::{Identity, Limits, NatsOptions, TlsFiles},
};
use std::path::PathBuf;

/// Where the server is, and who we are to it.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "The queue of many hosts")]
pub(crate) struct NatsArgs {
    /// The NATS server with JetStream that holds the queue: nats://HOST:4222 or tls://HOST:4222, several of a cluster with
    /// commas between
    #[arg(long = "nats", env = "BENCH_NATS", value_name = "URL", hide_env_values = true)]
    url: Option<String>,
    /// Credentials: a .creds file with JWT and seed
    #[arg(long = "nats-creds", env = "NATS_CREDS", value_name = "FILE")]
    creds: Option<PathBuf>,
    /// Credentials: a file with the seed of an NKey
    #[arg(long = "nats-nkey", env = "NATS_NKEY", value_name = "FILE")]
    nkey: Option<PathBuf>,
    /// Credentials: a user; the password is read from NATS_PASSWORD
    #[arg(long = "nats-user", env = "NATS_USER", value_name = "NAME")]
    user: Option<String>,
    /// Password of the user: by the variable only, as arguments are seen by everybody on a host
    #[arg(long = "nats-password", env = "NATS_PASSWORD", hide = true, hide_env_values = true)]
    password: Option<String>,
    /// Credentials: a token, by the variable only
    #[arg(long = "nats-token", env = "NATS_TOKEN", hide = true, hide_env_values = true)]
    token: Option<String>,
    /// Who may vouch for the server instead of whom the system trusts, as PEM; with it, only TLS is spoken
    #[arg(long = "nats-ca", env = "NATS_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Our certificate for TLS, as PEM
    #[arg(long = "nats-cert", env = "NATS_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its key
    #[arg(long = "nats-key", env = "NATS_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
}

impl NatsArgs {
    /// The server, for the farm of that name; `None`: none was named.
    ///
    /// # Errors
    /// Credentials of several kinds.
    pub(crate) fn options(self, farm: &str) -> CommandResult<Option<NatsOptions>> {
        let Some(url) = self.url else { return Ok(None) };
        let mut kinds = Vec::new();
        kinds.extend(self.creds.map(|path| ("NATS_CREDS", Identity::Credentials(path))));
        kinds.extend(self.nkey.map(|path| ("NATS_NKEY", Identity::NKey(path))));
        kinds.extend(self.token.map(|token| ("NATS_TOKEN", Identity::Token(token))));
        let password = self.password.unwrap_or_default();
        kinds.extend(self.user.map(|name| ("NATS_USER", Identity::User { name, password })));
        if kinds.len() > 1 {
            let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
            return Err(Failure::usage(format!(
                "credentials for NATS of several kinds, {}: give one, as a flag or a variable",
                names.join(" and ")
            )));
        }
        let identity = kinds.pop().map_or(Identity::Nobody, |(_, identity)| identity);
        let tls = TlsFiles { ca: self.ca, cert: self.cert, key: self.key };
        Ok(Some(NatsOptions { url, farm: farm.to_owned(), identity, tls, limits: Limits::default() }))
    }
}

/// What a queue did not do, as the end of a command: what the user has to change is a mistake, the rest is trouble.
pub(crate) fn failure(error: QueueError) -> Failure {
    let exit = match &error {
        QueueError::Refused(_) => Exit::Usage,
        QueueError::Unreachable(_)
        | QueueError::Full(_)
        | QueueError::LeaseLost(_)
        | QueueError::Unreadable(_) => Exit::Incomplete,
    };
    Failure { exit, error: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_of_credentials_at_a_time() {
        let args = NatsArgs { url: Some("nats://host".to_owned()), ..NatsArgs::default() };
        assert!(NatsArgs::default().options("lab").unwrap().is_none());
        let user = NatsArgs { user: Some("me".to_owned()), password: Some("x".to_owned()), ..args.clone() };
        let options = user.clone().options("lab").unwrap().unwrap();
        assert!(
            matches!(options.identity, Identity::User { name, password } if name == "me" && password == "x")
        );
        assert_eq!((options.farm.as_str(), options.url.as_str()), ("lab", "nats://host"));
        let both = NatsArgs { creds: Some("a.creds".into()), ..user };
        let why = both.options("lab").unwrap_err();
        assert_eq!(why.exit, Exit::Usage);
        assert!(why.error.to_string().contains("NATS_CREDS and NATS_USER"), "{:#}", why.error);
    }
}
