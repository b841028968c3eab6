//! Compressors and decompressors, which the connections of a process share: each is used for one message at a time and
//! then again, so there are as many as threads that compress at the same time, and none without connections.

use std::{
    mem,
    sync::{Mutex, OnceLock, PoisonError},
    thread,
};

use crate::protocol::{
    decoder::FaultKind,
    deflate::{
        deflater::Deflater,
        figures::{CompressedBytes, CompressionFigures},
        inflater::Inflater,
    },
};

static STATES: Mutex<States> = Mutex::new(States::new());

/// The states that wait for their next message, the latest last, and the number of guards.
struct States {
    deflaters: Vec<Deflater>,
    inflaters: Vec<Inflater>,
    guards: usize,
    figures: CompressionFigures,
}

/// Keeps the states while it lives: each connection that agreed on compression holds one.
#[derive(Debug)]
pub(super) struct StatesGuard(());

impl StatesGuard {
    pub(super) fn new() -> Self {
        with_states(|states| states.guards += 1);
        Self(())
    }
}

impl Drop for StatesGuard {
    fn drop(&mut self) {
        // What is left over is freed once the lock is released.
        drop(with_states(States::end_guard));
    }
}

/// Compresses a message, and gives it to `use_it`; `None` if it does not get shorter.
pub(super) fn deflate<T>(level: u8, bits: u8, message: &[u8], use_it: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let kept = with_states(|states| {
        let at = states.deflaters.iter().rposition(|state| state.is_for(level, bits))?;
        Some(states.deflaters.remove(at))
    });
    let mut state = kept.unwrap_or_else(|| Deflater::new(level, bits));
    let deflated = state.deflate(message);
    let compressed = deflated.map(<[u8]>::len);
    let used = deflated.map(use_it);
    state.rest();
    drop(with_states(|states| {
        if let Some(compressed) = compressed {
            states.figures.sent.add(message.len(), compressed);
        }
        let guards = states.guards;
        keep(&mut states.deflaters, state, guards)
    }));
    used
}

/// Decompresses a message that refers to none before it.
pub(super) fn inflate(message: &[u8], limit: usize) -> Result<Vec<u8>, FaultKind> {
    let mut state = with_states(|states| states.inflaters.pop()).unwrap_or_else(Inflater::new);
    let inflated = state.inflate_alone(message, limit);
    drop(with_states(|states| {
        if let Ok(inflated) = &inflated {
            states.figures.received.add(inflated.len(), message.len());
        }
        let guards = states.guards;
        keep(&mut states.inflaters, state, guards)
    }));
    inflated
}

/// What compression has saved so far.
#[must_use]
pub fn compression_figures() -> CompressionFigures {
    with_states(|states| states.figures)
}

/// Counts a message that was decompressed by a state of its own.
pub(super) fn inflated(plain: usize, compressed: usize) {
    with_states(|states| states.figures.received.add(plain, compressed));
}

fn with_states<T>(f: impl FnOnce(&mut States) -> T) -> T {
    f(&mut STATES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Keeps a state, and returns one that is not kept any more.
fn keep<S>(states: &mut Vec<S>, state: S, guards: usize) -> Option<S> {
    if guards == 0 {
        return Some(state);
    }
    states.push(state);
    (states.len() > most_kept()).then(|| states.remove(0))
}

/// As many as there are threads that run.
fn most_kept() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

impl States {
    const fn new() -> Self {
        let none = CompressedBytes { plain: 0, compressed: 0 };
        let figures = CompressionFigures { sent: none, received: none };
        Self { deflaters: Vec::new(), inflaters: Vec::new(), guards: 0, figures }
    }

    /// With the last guard nothing is kept.
    fn end_guard(&mut self) -> (Vec<Deflater>, Vec<Inflater>) {
        self.guards -= 1;
        if self.guards > 0 {
            return Default::default();
        }
        (mem::take(&mut self.deflaters), mem::take(&mut self.inflaters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_states_are_kept_than_threads_run_and_the_oldest_goes_first() {
        let mut states = Vec::new();
        let most = most_kept();
        for state in 0..most {
            assert_eq!(keep(&mut states, state, 1), None);
        }
        assert_eq!(keep(&mut states, most, 1), Some(0));
        assert_eq!(states.len(), most);
        assert_eq!(keep(&mut states, 7, 0), Some(7), "without a guard nothing is kept");
    }

    #[test]
    fn what_one_peer_sent_is_never_in_what_another_gets_and_cannot_be_referred_to() {
        let _guard = StatesGuard::new();
        let secret = b"the secret of another peer ".repeat(40);
        let sent = deflate(1, 15, &secret, <[u8]>::to_vec).unwrap();
        // Block of fixed codes: a match of 10 bytes, 20 bytes back; the state that is kept has just read the secret.
        for distance_code in 0..30u32 {
            assert_eq!(inflate(&sent, 10_000).unwrap(), secret);
            let mut bits = BitWriter::default();
            bits.put(0, 1);
            bits.put(1, 2);
            bits.put_code(0b0001000, 7);
            bits.put_code(distance_code, 5);
            bits.put(0, 13);
            bits.put(0, 16);
            assert_eq!(
                inflate(&bits.bytes, 10_000),
                Err(FaultKind::Deflate),
                "distance code {distance_code}"
            );
        }
        // What is compressed after it is what a state gives that was never used.
        for level in [1, 6, 9] {
            deflate(level, 15, &secret, |_| ()).unwrap();
            let message = b"the secret of another peer, of which this one knows nothing".repeat(2);
            let used = deflate(level, 15, &message, <[u8]>::to_vec).unwrap();
            assert_eq!(Deflater::new(level, 15).deflate(&message), Some(&used[..]));
        }
        // A message that breaks off, or is too long, leaves nothing either.
        for (bad, limit) in [(&sent[..sent.len() / 2], 10_000), (&sent, 100)] {
            assert!(inflate(bad, limit).is_err());
            let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
            assert_eq!(inflate(&hello, 5).unwrap(), b"Hello");
        }
    }

    /// Bits as deflate has them, the lowest first (RFC 1951 section 3.1.1).
    #[derive(Default)]
    struct BitWriter {
        bytes: Vec<u8>,
        used: usize,
    }

    impl BitWriter {
        fn put(&mut self, value: u32, bits: usize) {
            for bit in 0..bits {
                if self.used.is_multiple_of(8) {
                    self.bytes.push(0);
                }
                let at = self.bytes.len() - 1;
                self.bytes[at] |= ((value >> bit & 1) as u8) << (self.used % 8);
                self.used += 1;
            }
        }

        /// Huffman codes have their highest bit first.
        fn put_code(&mut self, code: u32, bits: usize) {
            self.put(code.reverse_bits() >> (32 - bits), bits);
        }
    }

    #[test]
    fn the_last_guard_takes_the_states_along() {
        let mut states = States { guards: 2, ..States::new() };
        states.inflaters.push(Inflater::new());
        states.deflaters.push(Deflater::new(1, 15));
        assert_eq!(states.end_guard().0.len(), 0);
        let (deflaters, inflaters) = states.end_guard();
        assert_eq!((deflaters.len(), inflaters.len()), (1, 1));
        assert_eq!((states.deflaters.capacity(), states.inflaters.capacity()), (0, 0));
    }
}
