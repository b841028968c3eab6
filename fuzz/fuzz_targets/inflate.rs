//! Any bytes of a compressed message become a message within the limit or are refused, at once; and a decoder reads them
//! the same however they are cut.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| websockets_simple_core::fuzzing::inflate(data));
