//! The example programs as they are started by hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod autobahn;
mod axum_chat;
mod browser_module;
mod chat;
mod cluster;
mod compat;
mod compression;
mod echo;
mod extended;
mod feed;
mod figures;
mod history;
mod installed;
mod other_clients;
mod program;
#[cfg(unix)]
mod pseudo_terminal;
mod secured;
#[cfg(unix)]
mod service;
mod signals;
#[cfg(unix)]
mod terminal;
mod traced;
mod uploads;
mod who_is_online;
mod ws;
mod ws_bench;
mod ws_doctor;
