//! A TCP relay between clients and a server, whose lines have faults.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use websockets_simple_core::test_util::{End, Faults};

/// How a line ends that has a fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// The peers read the end of the stream.
    Fin,
    /// The peers are told that the connection was reset.
    Reset,
}

/// A relay, until it is dropped.
#[derive(Debug)]
pub struct Relay {
    addr: SocketAddr,
    lines: Arc<Mutex<Vec<Faults>>>,
    task: AbortHandle,
}

impl Relay {
    /// A relay to a server. `plan` is called for each line before a byte passes, with the number of those before it.
    ///
    /// # Panics
    ///
    /// When there is no port.
    pub async fn to(
        server: SocketAddr,
        ending: Ending,
        plan: impl Fn(usize, &Faults) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let addr = listener.local_addr().expect("it listens");
        let lines = Arc::<Mutex<Vec<Faults>>>::default();
        let known = Arc::clone(&lines);
        let task = tokio::spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let line = Faults::new();
                let number = {
                    let mut lines = known.lock().unwrap_or_else(PoisonError::into_inner);
                    lines.push(line.clone());
                    lines.len() - 1
                };
                plan(number, &line);
                passing.spawn(pass(line, near, server, ending));
                while passing.try_join_next().is_some() {}
            }
        });
        Self { addr, lines, task: task.abort_handle() }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The faults of the last line.
    ///
    /// # Panics
    ///
    /// When there was none.
    #[must_use]
    pub fn line(&self) -> Faults {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).last().expect("a line").clone()
    }

    /// How many lines there were.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

async fn pass(line: Faults, near: TcpStream, server: SocketAddr, ending: Ending) -> io::Result<()> {
    let far = TcpStream::connect(server).await?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
        if ending == Ending::Reset {
            stream.set_zero_linger()?;
        }
    }
    // To its client the relay is the server.
    let (mut near, mut far) = (line.wrap(near, End::Server), line.wrap(far, End::Client));
    tokio::io::copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}
