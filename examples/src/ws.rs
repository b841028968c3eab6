//! The commands of `ws`.

pub mod doctor;
