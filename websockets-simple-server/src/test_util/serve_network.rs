//! Serves a network in memory.

use tokio::task::{AbortHandle, JoinSet};
use websockets_simple_core::test_util::Incoming;

use crate::{server::Server, users::Identity};

/// A server that serves a network in memory.
pub trait ServeNetwork {
    /// [Serves](Server::serve) every line of a network in memory until the returned value is dropped, in a task of the
    /// current runtime. The server has to run; lines that come before that are answered with 503. Connections go on when
    /// the value is dropped: they are the server's.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    fn serve_network(&self, incoming: Incoming) -> Serving;
}

/// A network in memory is being served as long as this lives.
#[derive(Debug)]
#[must_use = "dropped, it accepts no line"]
pub struct Serving(AbortHandle);

impl<I: Identity> ServeNetwork for Server<I> {
    fn serve_network(&self, mut incoming: Incoming) -> Serving {
        let server = self.clone();
        let accepting = tokio::spawn(async move {
            let mut openings = JoinSet::new();
            loop {
                tokio::select! {
                    line = incoming.accept() => {
                        let Some(line) = line else { break };
                        let serve = server.serve(line);
                        // The client is told why there is no connection.
                        openings.spawn(async move { drop(serve.await) });
                    }
                    Some(_) = openings.join_next() => {}
                }
            }
            openings.join_all().await;
        });
        Serving(accepting.abort_handle())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}
