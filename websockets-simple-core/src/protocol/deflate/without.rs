//! Without the feature `deflate` no end agrees on compression: there is no value of these types.

use std::convert::Infallible;

use bytes::Bytes;

use crate::protocol::{
    decoder::FaultKind,
    frame::{Frame, Side},
};

/// What both ends agreed on: nothing, without the feature `deflate`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Agreement(Infallible);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Form(Infallible);

#[derive(Debug)]
pub(crate) struct Inflation(Infallible);

impl Agreement {
    pub(crate) fn form(&self, _: usize) -> Option<Form> {
        match self.0 {}
    }
}

impl Form {
    pub(crate) fn work(self, _: usize) -> usize {
        match self.0 {}
    }

    pub(crate) fn frame(self, _: &[u8], _: bool, _: Side) -> Option<Frame> {
        match self.0 {}
    }
}

impl Inflation {
    pub(crate) fn new(agreement: Agreement) -> Self {
        match agreement.0 {}
    }

    pub(crate) fn most_compressed(limit: u64) -> u64 {
        limit
    }

    pub(crate) fn inflate(&self, _: &[u8], _: usize) -> Result<Bytes, FaultKind> {
        match self.0 {}
    }
}
