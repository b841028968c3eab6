//! Pages in real browsers: Chromium without a window.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chat;
mod chromium;
mod compression;
mod http2;
mod live_page;
mod module;
mod party;
mod refused;
mod screen;
mod signals;

#[path = "../programs/installed.rs"]
#[expect(dead_code, reason = "the tests of the programs need all of it")]
mod installed;
#[path = "../programs/program.rs"]
#[expect(dead_code, reason = "the tests of the programs need all of it")]
mod program;
