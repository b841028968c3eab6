//! Reading in place means the same as tungstenite's context alone, whatever comes and however it is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| websockets_simple_core::fuzzing::engine(data));
