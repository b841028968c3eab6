//! Whatever a node hears of the others is taken or refused, nothing panics, and nothing of a node stays that is gone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use websockets_simple_server::fuzzing;

fuzz_target!(|bytes: &[u8]| fuzzing::envelope(bytes));
