//! Core's `protocol` folder, linked here and built with the dependencies of this package alone: no tokio and no clock
//! is among them. `cargo check -p websockets-simple-protocol-alone` shows it.

#![allow(
    dead_code,
    unfulfilled_lint_expectations,
    unreachable_pub,
    unused_imports,
    reason = "core uses what this package does not"
)]

mod protocol;
mod token;
