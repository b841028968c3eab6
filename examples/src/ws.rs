//! The program `ws`: one command line for WebSockets.

pub mod bench;
pub mod doctor;
pub mod exit;
pub mod output;
pub mod target;
pub mod token;

pub use exit::{Exit, Failure};
