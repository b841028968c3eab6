//! What is compressed, at any level and for any window, is read with a window of that size.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| websockets_simple_core::fuzzing::roundtrip(data));
