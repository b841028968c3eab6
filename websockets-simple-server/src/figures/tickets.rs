//! What a user service has issued.

use serde::Serialize;
use websockets_simple_core::figures::Figure;

/// How many tickets a user service has issued. See [`Tickets`](crate::Tickets).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TicketFigures {
    /// Those that were issued.
    pub issued: u64,
    /// Those that a connection was opened with, or would have been if nothing else had been wrong.
    pub redeemed: u64,
    /// Those that are good, and wait for their client.
    pub unused: usize,
}

impl TicketFigures {
    /// Those of several services; `None` if none of them has any.
    #[must_use]
    pub fn sum(of: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        of.into_iter().flatten().reduce(|sum, more| Self {
            issued: sum.issued + more.issued,
            redeemed: sum.redeemed + more.redeemed,
            unused: sum.unused + more.unused,
        })
    }

    pub(super) fn list(&self) -> [Figure; 2] {
        let results = [("issued", self.issued as f64), ("redeemed", self.redeemed as f64)];
        [
            Figure::counter("ws_tickets_total", "Tickets, by what became of them.").by("result", results),
            Figure::gauge("ws_tickets_unused", "Tickets that wait for their client.").of(self.unused as f64),
        ]
    }
}
