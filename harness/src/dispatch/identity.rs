//! Whether who answers now is who answered before: samples of two devices, or of two builds of the agent, must
//! never stand under one name. Pure.

use crate::link::Hello;
use protocol::{AgentInfo, DeviceInfo};

/// What must not change while a run lasts, interruptions included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    facts: Vec<(&'static str, String)>,
}

impl Identity {
    /// Of an agent on a device.
    pub(crate) fn new(agent: &AgentInfo, device: &DeviceInfo) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Self {
            facts: vec![
                ("model", text(&device.model)),
                ("host name", device.hostname.clone()),
                ("processor", device.cpu.clone()),
                ("instruction set", device.arch.clone()),
                ("number of cores", device.cores.len().to_string()),
                ("system", device.os.clone()),
                ("agent", format!("{} ({})", agent.version, agent.sha256.short())),
            ],
        }
    }

    /// Of who greets.
    pub(crate) fn of(hello: &Hello) -> Self {
        Self::new(&hello.agent, &hello.device)
    }

    /// What is different now, in words.
    pub(crate) fn change(&self, now: &Self) -> Option<String> {
        let ((what, was), (_, is)) = self.facts.iter().zip(&now.facts).find(|(was, is)| was != is)?;
        Some(format!(
            "who answers now is not who was measured before: the {what} was {was:?} and is {is:?}; start a new run"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Sha256Hex;

    #[test]
    fn another_device_or_agent_is_told_by_what_differs() {
        let agent = |build: &[u8], pid| AgentInfo {
            version: "1.0".to_owned(),
            sha256: Sha256Hex::of_bytes(build),
            pid,
        };
        let device = DeviceInfo { model: Some("Pixel 7".to_owned()), ..DeviceInfo::default() };
        let before = Identity::new(&agent(b"a", 1), &device);
        assert_eq!(before.change(&Identity::new(&agent(b"a", 2), &device)), None);
        let other = DeviceInfo { model: Some("Pixel 8".to_owned()), ..device.clone() };
        let words = before.change(&Identity::new(&agent(b"a", 1), &other)).unwrap();
        assert!(words.contains("the model was \"Pixel 7\" and is \"Pixel 8\""), "{words}");
        assert!(before.change(&Identity::new(&agent(b"b", 1), &device)).unwrap().contains("the agent was"));
    }
}
