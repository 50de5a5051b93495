//! Devices that are there: each is announced again and again, and forgotten when it is not.

use super::{AT_ONCE, NatsQueue, names::token};
use crate::{device::DeviceCard, queue::QueueError};
use futures_util::{TryStreamExt, future::try_join_all};

impl NatsQueue {
    pub(super) async fn announce_device(&self, card: &DeviceCard) -> Result<(), QueueError> {
        let text =
            serde_json::to_vec(card).map_err(|e| QueueError::Unreadable(format!("{}: {e}", card.id)))?;
        // two hosts that call a device the same are both seen, and somebody can say so
        let key = format!("{}.{}", token(&card.host), token(&card.id));
        let put = self.devices.put(key, text.into()).await;
        put.map(drop).map_err(|e| self.link.failed(&format!("announce {}", card.id), &e))
    }

    pub(super) async fn announced_devices(&self) -> Result<Vec<DeviceCard>, QueueError> {
        let failed = |e: &(dyn std::error::Error + 'static)| self.link.failed("devices", e);
        let keys = self.devices.keys().await.map_err(|e| failed(&e))?;
        let keys: Vec<String> = keys.try_collect().await.map_err(|e| failed(&e))?;
        let mut cards = Vec::new();
        for some in keys.chunks(AT_ONCE) {
            let entries =
                try_join_all(some.iter().map(|key| self.devices.get(key))).await.map_err(|e| failed(&e))?;
            // of another version, and so of no use to this one
            cards.extend(
                entries.iter().flatten().filter_map(|text| serde_json::from_slice::<DeviceCard>(text).ok()),
            );
        }
        cards.sort_by(|a, b| (&a.id, &a.host).cmp(&(&b.id, &b.host)));
        Ok(cards)
    }
}
