//! Small pictures of the examples, so that a report can show on which of them two variants disagree.

use protocol::Sha256Hex;
use serde::{Deserialize, Serialize};

/// One picture per example, all of one size: in a record, the file of outputs that holds them one after the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pictures {
    /// Hash of all pixels.
    pub sha256: Sha256Hex,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// 1: grey; 3: red, green and blue, pixel by pixel.
    pub channels: u8,
    /// `examples × height × width × channels`, where they were read.
    #[serde(skip)]
    pub pixels: Option<Vec<u8>>,
}

impl Pictures {
    /// `pixels` are those of every example, one after the other.
    pub fn new(width: u32, height: u32, channels: u8, pixels: Vec<u8>) -> Self {
        Self { sha256: Sha256Hex::of_bytes(&pixels), width, height, channels, pixels: Some(pixels) }
    }

    /// Bytes of one of them.
    pub fn stride(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * u64::from(self.channels)
    }

    /// The pixels of an example; `None` where they were not read.
    pub fn of(&self, example: usize) -> Option<&[u8]> {
        let stride = usize::try_from(self.stride()).ok()?;
        let start = example.checked_mul(stride)?;
        self.pixels.as_ref()?.get(start..start.checked_add(stride)?)
    }
}

impl PartialEq for Pictures {
    fn eq(&self, other: &Self) -> bool {
        let shape = |p: &Self| (p.width, p.height, p.channels);
        self.sha256 == other.sha256 && shape(self) == shape(other)
    }
}
