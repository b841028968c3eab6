//! Signals that ask a program to stop.

use std::io;

/// Listens for Ctrl-C, and on Unix for SIGTERM too. The future resolves at the first one from now on, so call this
/// before the program reports that it is ready.
///
/// # Errors
///
/// When the signal handlers cannot be installed.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn stop_request() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(windows)]
    {
        let mut interrupt = tokio::signal::windows::ctrl_c()?;
        Ok(async move {
            interrupt.recv().await;
        })
    }
}
