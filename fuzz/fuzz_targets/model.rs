//! The decoder takes every step with the byte by which a slow model of RFC 6455 can tell it, for any bytes, cut anywhere.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| websockets_simple_core::fuzzing::model(data));
