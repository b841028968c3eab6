//! Any offer of extensions is answered by what obeys it, and any answer is taken or refused, and nothing panics.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| websockets_simple_core::fuzzing::offer(data));
