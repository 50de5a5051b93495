//! `bench devices connect`, `disconnect` and `pair`: phones on the network, through the adb server.

use crate::{
    devices::Registry,
    exit::{CommandResult, Exit, ExitWith, Failure},
    progress::say,
    stdout::print,
    transport::adb,
};
use anyhow::Context;
use std::io::{self, Read};

/// Longest line that is read as a code for pairing.
const CODE_BYTES: u64 = 64;

/// The address of a phone.
#[derive(Debug, clap::Args)]
pub(super) struct Address {
    /// As the phone shows it under wireless debugging, or its id in devices.toml; the port is 5555 unless said
    #[arg(value_name = "HOST[:PORT]|ID")]
    address: String,
}

impl Address {
    /// Where the phone is.
    ///
    /// # Errors
    /// The id is that of no phone on the network.
    fn found(&self, registry: &Registry) -> CommandResult<String> {
        match registry.written_as(&self.address) {
            Some(known) if known.transport == "adb" && known.reach.address.contains(':') => {
                Ok(known.reach.address.clone())
            }
            Some(known) => Err(Failure::usage(format!(
                "{} is no phone on the network: devices.toml has it as {}:{}",
                self.address, known.transport, known.reach.address
            ))),
            None => Ok(self.address.clone()),
        }
    }
}

/// Arguments of `pair`.
#[derive(Debug, clap::Args)]
pub(super) struct Pairing {
    /// As the phone shows it beside the code; this port is another one than for connecting
    #[arg(value_name = "HOST:PORT")]
    address: String,
}

/// Makes a phone known to the adb server.
pub(super) async fn connect(address: &Address, registry: &Registry) -> CommandResult {
    let serial = adb::connect(&address.found(registry)?).await.map_err(trouble)?;
    print(&format!("connected; measure on it with --device adb:{serial}\n"))?;
    Ok(Exit::Fine)
}

/// Lets a phone go.
pub(super) async fn disconnect(address: &Address, registry: &Registry) -> CommandResult {
    let address = address.found(registry)?;
    adb::disconnect(&address).await.map_err(trouble)?;
    print(&format!("{address} is disconnected\n"))?;
    Ok(Exit::Fine)
}

/// Makes this computer known to a phone. The code comes from standard input: arguments can be seen by everybody
/// on this computer.
pub(super) async fn pair(Pairing { address }: Pairing) -> CommandResult {
    let code = asked()?;
    adb::pair(&address, code.trim()).await.map_err(trouble)?;
    let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    print(&format!(
        "paired; now connect to the port that the phone shows: bench devices connect {host}:PORT\n"
    ))?;
    Ok(Exit::Fine)
}

fn asked() -> CommandResult<String> {
    say("the six digits that the phone shows:");
    let mut code = Vec::new();
    for byte in io::stdin().lock().take(CODE_BYTES).bytes() {
        match byte.context("the code cannot be read").or_usage()? {
            b'\n' => break,
            byte => code.push(byte),
        }
    }
    String::from_utf8(code).context("the code").or_usage()
}

fn trouble(why: String) -> Failure {
    Failure { exit: Exit::Incomplete, error: anyhow::Error::msg(why) }
}
