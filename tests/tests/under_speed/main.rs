//! Correct while it is fast: order, bounds, ends and control frames when much is sent to many at once.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

mod control;
mod ending;
mod fairness;
mod order;
mod overflow;
mod wire;
