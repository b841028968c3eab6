//! The decoder reads any bytes, cut anywhere, as tungstenite's context alone does.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| websockets_simple_core::fuzzing::decoder(data));
