//! Parts shared by the example programs and their tests.

pub mod authority;
pub mod chat;
pub mod cluster;
pub mod compat;
pub mod demo;
pub mod members;
pub mod page;
pub mod service;
pub mod terminal;
pub mod tokens;
pub mod ws;

mod failure;
mod stop;

pub use failure::in_one_line;
pub use stop::stop_request;
