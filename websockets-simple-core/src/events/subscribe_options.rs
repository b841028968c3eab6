//! What a subscription asks for.

/// Bytes that an event stream holds by default.
const STREAM_CAPACITY: usize = 1024 * 1024;

/// Options of a subscription: Sent events, Connected of open connections, capacity.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// Whether messages accepted for sending are raised too. Default: no.
    pub sent: bool,
    /// Whether Connected is raised for connections that are open already. Default: no; such a subscription then
    /// gets no Disconnected of theirs either.
    pub replay: bool,
    /// Bytes that an event stream holds: of each event its message, path or reason, and 256 bytes. Default: 1 MiB.
    /// Handlers do not use it.
    pub capacity: usize,
    /// Whether each call of the handler is a span, `ws.handler`. Default: no. Event streams do not use it.
    pub spans: bool,
}

impl SubscribeOptions {
    /// Asks for an event for every message accepted for sending.
    #[must_use]
    pub fn sent(mut self) -> Self {
        self.sent = true;
        self
    }

    /// Asks for a Connected for every connection that is open already.
    #[must_use]
    pub fn replay(mut self) -> Self {
        self.replay = true;
        self
    }

    /// Asks for a span of `tracing` around each call of the handler: `ws.handler`, at the level `INFO`, from the call to the
    /// end of its future.
    #[must_use]
    pub fn spans(mut self) -> Self {
        self.spans = true;
        self
    }

    /// Sets the bytes that an event stream holds.
    #[must_use]
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes;
        self
    }
}

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self { sent: false, replay: false, capacity: STREAM_CAPACITY, spans: false }
    }
}
