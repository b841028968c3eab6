//! The program `ws`: one command line for WebSockets.

pub mod bench;
pub mod connect;
pub mod doctor;
pub mod exit;
mod json;
pub mod output;
pub mod serve;
pub mod target;
pub mod token;

pub use exit::{Exit, Failure};
