//! Any bytes ahead of the handshake are a header of the PROXY protocol or refused, and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use websockets_simple_server::fuzzing;

fuzz_target!(|bytes: &[u8]| fuzzing::proxy_protocol(bytes));
