//! The connection to the server: it comes back by itself, whatever happens, and every request has an end. Says in a
//! [`QueueError`] what went wrong.

use super::options::{Identity, NatsOptions};
use crate::queue::QueueError;
use async_nats::{
    Client, ClientError, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerError,
    connection::State,
    jetstream::{Context, ErrorCode, context::ContextBuilder},
    rustls::crypto,
};
use std::{error::Error, fs, path::Path, time::Duration};
use tokio::{sync::watch, time::timeout};

/// A server that does not answer within this is slow or gone: a queue answers in milliseconds.
pub(super) const ANSWER: Duration = Duration::from_secs(10);
/// A link on which nothing moves is looked at so often; after two looks without answer it counts as cut.
const PING: Duration = Duration::from_secs(5);
/// Between two tries to connect again, at most.
const RECONNECT: Duration = Duration::from_secs(4);
/// Largest file with keys, credentials or certificates: as a system trusts hundreds.
const MAX_KEY_BYTES: u64 = 4 << 20;

/// Codes of the server that mean: no room.
const NO_ROOM: [ErrorCode; 8] = [
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ErrorCode::INSUFFICIENT_RESOURCES,
    ErrorCode::MEMORY_RESOURCES_EXCEEDED,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
    ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM,
    ErrorCode::STREAM_STORE_FAILED,
    ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED,
    ErrorCode::MAXIMUM_STREAMS_LIMIT,
];
/// The same in words, where the client keeps only words: of the Object Store's chunks.
const NO_ROOM_WORDS: [&str; 4] =
    ["maximum bytes exceeded", "maximum messages exceeded", "insufficient", "max payload"];
/// Codes of the server that mean: not for you.
const NOT_ALLOWED: [ErrorCode; 3] =
    [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT, ErrorCode::NO_ACCOUNT];

/// A connection.
pub(super) struct Link {
    pub(super) context: Context,
    /// Why the server refused us the last time, since it was last connected to.
    denied: watch::Receiver<Option<String>>,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses us; or what we are to say is nonsense.
    pub(super) async fn connect(options: &NatsOptions) -> Result<Self, QueueError> {
        // two parts of a program may each want a provider of their own: without this, rustls would not choose
        if crypto::CryptoProvider::get_default().is_none() {
            // another thread was faster: as good
            crypto::ring::default_provider().install_default().unwrap_or_default();
        }
        options.check_farm().map_err(QueueError::Refused)?;
        let addresses = options.addresses().map_err(QueueError::Refused)?;
        let (deny, denied) = watch::channel(None);
        let settings = ConnectOptions::new()
            .name(format!("bench of farm {}", options.farm))
            .connection_timeout(ANSWER)
            .request_timeout(Some(ANSWER))
            .ping_interval(PING)
            .max_reconnects(None)
            .reconnect_delay_callback(|tries| {
                let doubled = Duration::from_millis(50) * (1u32 << tries.min(8));
                if tries <= 1 { Duration::ZERO } else { doubled.min(RECONNECT) }
            })
            .event_callback(move |event| {
                match event {
                    // it goes on trying: the credentials may become right again
                    Event::ClientError(ClientError::Other(words))
                        if words.contains("authorization violation") =>
                    {
                        deny.send_replace(Some(words));
                    }
                    Event::ServerError(ServerError::Other(words))
                        if words.to_lowercase().contains("permissions violation") =>
                    {
                        deny.send_replace(Some(words));
                    }
                    Event::Connected => drop(deny.send_replace(None)),
                    _ => {}
                }
                async {}
            });
        let settings = with_tls(settings, options)?;
        let settings =
            match addresses.iter().find_map(|a| Some((a.username()?, a.password().unwrap_or_default()))) {
                Some((user, password)) => settings.user_and_password(user.to_owned(), password.to_owned()),
                None => with_identity(settings, &options.identity).await?,
            };
        let connected = timeout(2 * ANSWER, settings.connect(addresses)).await;
        let client = match connected {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(not_connected(&error, options)),
            Err(_) => return Err(QueueError::Unreachable(format!("{} does not answer", options.shown()))),
        };
        let context = ContextBuilder::new().timeout(ANSWER).ack_timeout(ANSWER).build(client);
        Ok(Self { context, denied })
    }

    pub(super) fn client(&self) -> Client {
        self.context.client()
    }

    /// Whether there is a connection now.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn check(&self) -> Result<(), QueueError> {
        if let Some(denied) = self.denied.borrow().as_ref() {
            return Err(QueueError::Refused(format!("{denied}: are the credentials still right?")));
        }
        match self.client().connection_state() {
            State::Connected => Ok(()),
            State::Pending | State::Disconnected => {
                Err(QueueError::Unreachable("the connection is lost, and tried anew".to_owned()))
            }
        }
    }

    /// What an error of the client means.
    pub(super) fn failed(&self, what: &str, error: &(dyn Error + 'static)) -> QueueError {
        let words = words(error);
        let codes = codes(&words);
        if codes.iter().any(|code| NO_ROOM.contains(code))
            || NO_ROOM_WORDS.iter().any(|part| words.contains(part))
        {
            return QueueError::Full(format!("{what}: {words}"));
        }
        if codes.iter().any(|code| NOT_ALLOWED.contains(code)) {
            return QueueError::Refused(format!(
                "{what}: {words}: start nats-server with -js, and give the account JetStream"
            ));
        }
        if let Some(denied) = self.denied.borrow().as_ref() {
            return QueueError::Refused(format!("{what}: {denied}: are the credentials still right?"));
        }
        QueueError::Unreachable(format!("{what}: {words}"))
    }
}

/// An error and its reasons.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let this = next?;
        next = this.source();
        Some(this)
    })
}

/// Each reason once, the last one last.
fn words(error: &(dyn Error + 'static)) -> String {
    chain(error).map(ToString::to_string).fold(String::new(), |told, next| match told {
        told if told.is_empty() => next,
        told if told.contains(&next) => told,
        told => format!("{told}: {next}"),
    })
}

/// Codes of the server in the words of the client, which says them all, and keeps them as values only here and there.
fn codes(words: &str) -> Vec<ErrorCode> {
    let after = words.split("error code ").skip(1);
    let digits = after.map(|text| text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
    digits.filter_map(|digits| digits.parse().ok()).map(ErrorCode).collect()
}

/// Whether the server says that there is no such thing.
pub(super) fn is_missing(error: &(dyn Error + 'static)) -> bool {
    let missing = [ErrorCode::STREAM_NOT_FOUND, ErrorCode::CONSUMER_NOT_FOUND];
    codes(&words(error)).iter().any(|code| missing.contains(code))
}

fn not_connected(error: &ConnectError, options: &NatsOptions) -> QueueError {
    let words = format!("{}: {}", options.shown(), words(error));
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            QueueError::Refused(format!("{words}: give credentials that this server knows"))
        }
        ConnectErrorKind::ServerParse | ConnectErrorKind::Tls => QueueError::Refused(words),
        ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => QueueError::Unreachable(words),
    }
}

fn with_tls(settings: ConnectOptions, options: &NatsOptions) -> Result<ConnectOptions, QueueError> {
    let mut settings = settings;
    let tls = &options.tls;
    if let Some(ca) = &tls.ca {
        readable(ca)?;
        settings = settings.add_root_certificates(ca.clone()).require_tls(true);
    }
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            readable(cert)?;
            readable(key)?;
            Ok(settings.add_client_certificate(cert.clone(), key.clone()).require_tls(true))
        }
        (None, None) => Ok(settings),
        _ => Err(QueueError::Refused("a certificate and its key belong together: give both".to_owned())),
    }
}

async fn with_identity(settings: ConnectOptions, identity: &Identity) -> Result<ConnectOptions, QueueError> {
    match identity {
        Identity::Nobody => Ok(settings),
        Identity::Credentials(path) => {
            let text = readable(path)?;
            let nonsense =
                |e| QueueError::Refused(format!("{}: no credentials of NATS: {e}", path.display()));
            settings.credentials(&text).map_err(nonsense)
        }
        Identity::NKey(path) => {
            let text = readable(path)?;
            // comments are of nk and nsc
            let seed = text.lines().map(str::trim).find(|line| line.starts_with('S'));
            let missing =
                || QueueError::Refused(format!("{}: no line with the seed of an NKey", path.display()));
            Ok(settings.nkey(seed.ok_or_else(missing)?.to_owned()))
        }
        Identity::Token(token) => Ok(settings.token(token.clone())),
        Identity::User { name, password } => Ok(settings.user_and_password(name.clone(), password.clone())),
    }
}

/// Reads a small file of text.
fn readable(path: &Path) -> Result<String, QueueError> {
    let wrong = |why: String| QueueError::Refused(format!("{}: {why}", path.display()));
    let size = fs::metadata(path).map_err(|e| wrong(e.to_string()))?.len();
    if size > MAX_KEY_BYTES {
        return Err(wrong(format!("{size} bytes are too many for keys or credentials")));
    }
    fs::read_to_string(path).map_err(|e| wrong(e.to_string()))
}
