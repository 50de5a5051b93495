//! What people do with the adb server itself: devices on the network are paired, connected and let go, and its
//! version is asked for. Done by `adb_client`, whose calls block and know no limit: each gets a thread and a
//! deadline here.

use super::{super::remote::harmless, server::Server};
use adb_client::{RustADBError, server::ADBServer};
use std::{
    net::{SocketAddr, SocketAddrV4},
    time::Duration,
};
use tokio::{net::lookup_host, task::spawn_blocking, time::timeout};

/// What the server knows by itself.
const VERSION_LIMIT: Duration = Duration::from_secs(5);

/// The server gives up on a dead address after 10 s.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// Port of a device's adbd unless another is said.
const PORT: u16 = 5555;

/// The running server's version, such as `1.0.41`; one is started when there is none.
///
/// # Errors
/// There is no adb, or its server does not answer; and what to do.
pub(crate) async fn server_version() -> Result<String, String> {
    ask(&Server::from_environment()?, VERSION_LIMIT, |server| {
        server.version().map(|version| version.to_string())
    })
    .await
}

/// Connects a device on the network (`HOST` or `HOST:PORT`); returns its serial.
///
/// # Errors
/// It is not there, or does not want to; and what to do.
pub(crate) async fn connect(address: &str) -> Result<String, String> {
    connect_through(&Server::from_environment()?, address).await
}

async fn connect_through(server: &Server, address: &str) -> Result<String, String> {
    let address = resolve(address).await?;
    ask(server, CONNECT_LIMIT, move |server| server.connect_device(address)).await.map_err(|reason| {
        format!(
            "{reason}; is its USB or wireless debugging switched on, and is it paired (`bench devices pair`)?"
        )
    })?;
    Ok(address.to_string())
}

/// Lets a device on the network go.
///
/// # Errors
/// It was not connected.
pub(crate) async fn disconnect(address: &str) -> Result<(), String> {
    let address = resolve(address).await?;
    ask(&Server::from_environment()?, CONNECT_LIMIT, move |server| server.disconnect_device(address)).await
}

/// Makes this computer known to a device that shows `code` beside the address for pairing.
///
/// # Errors
/// The code is wrong or over, or the device is not there.
pub(crate) async fn pair(address: &str, code: &str) -> Result<(), String> {
    if code.is_empty() || !code.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{code:?} is no code for pairing: the device shows six digits"));
    }
    if !address.contains(':') {
        return Err(format!(
            "{address:?} has no port: the device shows one for pairing, which always differs"
        ));
    }
    pair_through(&Server::from_environment()?, resolve(address).await?, code).await
}

/// By hand: servers answer in three shapes, and the library reads one.
async fn pair_through(server: &Server, address: SocketAddrV4, code: &str) -> Result<(), String> {
    let asked = server.answer(&format!("host:pair:{code}:{address}"), CONNECT_LIMIT).await;
    let said = asked.map_err(|fault| fault.to_string())?;
    if said.starts_with("Successfully paired") {
        Ok(())
    } else {
        Err(format!("adb says: {}", harmless(&said)))
    }
}

/// `adb_client` takes addresses of IPv4 only.
async fn resolve(address: &str) -> Result<SocketAddrV4, String> {
    let with_port = if address.contains(':') { address.to_owned() } else { format!("{address}:{PORT}") };
    let found = lookup_host(&with_port).await.map_err(|e| format!("{with_port}: {e}"))?;
    let mut v4 = found.filter_map(|found| match found {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    });
    v4.next().ok_or_else(|| format!("{with_port} has no address of IPv4, and adb is given no other"))
}

async fn ask<T: Send + 'static>(
    server: &Server,
    limit: Duration,
    question: impl FnOnce(&mut ADBServer) -> Result<T, RustADBError> + Send + 'static,
) -> Result<T, String> {
    // starts it where none runs
    drop(server.connect().await.map_err(|fault| fault.to_string())?);
    let address = resolve(&format!("{}:{}", server.host, server.port)).await?;
    // before every question the library runs `adb start-server`, without a limit and on the usual port: it is
    // given another program, which does nothing
    let idle = Some("true".to_owned());
    let asked = spawn_blocking(move || question(&mut ADBServer::new_from_path(address, idle)));
    match timeout(limit, asked).await {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(RustADBError::ADBRequestFailed(reason)))) => {
            Err(format!("adb says: {}", harmless(&reason)))
        }
        Ok(Ok(Err(error))) => Err(format!("the adb server at {}: {error}", server.socket())),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "the adb server at {} did not answer within {} s: end its process, the next command starts a new one",
            server.socket(),
            limit.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::Scripted, *};

    fn block<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn the_library_asks_the_server_that_is_meant() {
        block(async {
            let scripted = Scripted::with_devices("", |mut talk, request| async move {
                match request.as_str() {
                    "host:version" => talk.text("0029").await,
                    "host:connect:10.0.0.7:5555" => talk.text("connected to 10.0.0.7:5555").await,
                    "host:connect:10.0.0.8:6000" => talk.text("failed to connect: \u{1b}[1mno").await,
                    _ => {}
                }
            });
            let server = scripted.await;
            let version =
                ask(&server.server, VERSION_LIMIT, |server| server.version().map(|v| v.to_string()));
            assert_eq!(version.await.unwrap(), "1.0.41");
            assert_eq!(connect_through(&server.server, "10.0.0.7").await.unwrap(), "10.0.0.7:5555");
            let error = connect_through(&server.server, "10.0.0.8:6000").await.unwrap_err();
            assert!(error.contains("failed to connect") && error.contains("debugging"), "{error}");
            assert!(!error.contains('\u{1b}'), "{error}");
        });
    }

    #[test]
    fn a_pairing_is_understood_however_it_is_told() {
        block(async {
            for (sent, paired) in [
                (&b"OKAYSuccessfully paired to 10.0.0.7:4000 [guid=adb-1]"[..], true),
                (b"OKAY0013Successfully paired", true),
                (b"OKAYOKAY0013Successfully paired", true),
                (b"OKAYFAIL0027Failed: Unable to start pairing client.", false),
                (b"FAIL0027Failed: Unable to start pairing client.", false),
                (b"OKAYFailed: Wrong password or connection was dropped.", false),
                (b"OKAY", false),
            ] {
                let scripted = Scripted::with_devices("", move |mut talk, request| async move {
                    assert_eq!(request, "host:pair:123456:10.0.0.7:4000");
                    assert!(talk.raw(sent).await);
                });
                let server = scripted.await;
                let told = pair_through(&server.server, "10.0.0.7:4000".parse().unwrap(), "123456").await;
                assert_eq!(told.is_ok(), paired, "{told:?}");
                if let Err(reason) = told {
                    assert!(reason.starts_with("adb says: "), "{reason}");
                    assert_eq!(reason.contains("Failed: "), sent.len() > 4, "{reason}");
                }
            }
        });
    }

    #[test]
    fn what_cannot_be_is_said_before_anybody_is_asked() {
        block(async {
            assert!(pair("10.0.0.7:4000", "12x").await.unwrap_err().contains("six digits"));
            assert!(pair("10.0.0.7", "123456").await.unwrap_err().contains("no port"));
            assert!(connect("[::1]:5555").await.unwrap_err().contains("IPv4"));
        });
    }
}
