//! What a model checker takes the place of.

pub(super) use std::sync::PoisonError;
#[cfg(not(shuttle))]
pub(super) use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread_local,
};

#[cfg(shuttle)]
pub(super) use shuttle::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread_local,
};
