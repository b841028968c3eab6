//! The page of the chat in real browsers: Chromium without a window.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chat;
mod chromium;
mod party;
mod refused;
mod screen;
