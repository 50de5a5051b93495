//! Bytes that may be a model of TFLite: imported, prepared, run once.

#![no_main]

#[path = "../../tests/hostile/live.rs"]
mod live;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    live::live(bytes.to_vec());
});
