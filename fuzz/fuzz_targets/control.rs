//! Any bytes for a control message or a certificate are read or refused, and nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use websockets_simple_core::{Control, Controls, Message, fuzzing, tls::PeerCertificate};

fuzz_target!(|bytes: &[u8]| {
    let controls = Controls::new();
    let said = Message::text(String::from_utf8_lossy(bytes).into_owned());
    let _ = Controls::of_hello(&said);
    // The same bytes behind the word that only the two ends know.
    let word = controls.message(&Control::Renewed { at: None });
    let word = word.as_text().unwrap_or_default().split(",\"type\"").next().unwrap_or_default();
    let behind = Message::text(format!("{word},{}", String::from_utf8_lossy(bytes)));
    fuzzing::control(&controls, &behind);
    if let Some(theirs) = Controls::of_hello(&behind) {
        fuzzing::control(&theirs, &behind);
    }
    let _ = PeerCertificate::new(bytes);
});
