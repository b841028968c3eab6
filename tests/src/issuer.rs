//! An issuer of keys and verdicts over HTTP.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    task::JoinHandle,
};

/// An HTTP server on a free port that answers every request alike.
#[derive(Debug)]
pub struct Issuer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    answer: Mutex<(u16, Vec<u8>)>,
    asked: AtomicUsize,
    /// Answers wait for this.
    gate: Arc<AsyncMutex<()>>,
}

impl Issuer {
    /// One that answers this.
    ///
    /// # Panics
    ///
    /// When there is no port.
    pub async fn start(body: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let addr = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            answer: Mutex::new((200, body.into())),
            asked: AtomicUsize::new(0),
            gate: Arc::default(),
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                let service = service_fn(move |_: Request<Incoming>| {
                    let shared = Arc::clone(&shared);
                    async move { Ok::<_, Infallible>(shared.respond().await) }
                });
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { addr, shared, task }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/keys", self.addr)
    }

    /// Answers this from now on.
    ///
    /// # Panics
    ///
    /// When a test has panicked with the answer in hand.
    pub fn answer(&self, status: u16, body: impl Into<Vec<u8>>) {
        *self.shared.answer.lock().expect("nobody panics") = (status, body.into());
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Keeps answers back while the guard lives.
    pub async fn hold(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.shared.gate).lock_owned().await
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn respond(&self) -> Response<Full<Bytes>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.lock().await);
        let (status, body) = self.answer.lock().expect("nobody panics").clone();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        response
    }
}
