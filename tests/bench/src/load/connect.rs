//! Handshakes.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use mio::{Events, Interest, Poll, Registry, Token, net::TcpStream};
use nix::errno::Errno;

use crate::load::{Meter, peer};

/// A connection on its way to its 101.
pub struct Opening {
    path: &'static str,
    stream: TcpStream,
    asked: bool,
    answer: Vec<u8>,
    since: Instant,
}

impl Opening {
    /// `user` has a loopback address of its own: the ports of a single one, kept for a minute each, would soon be
    /// used up.
    pub fn begin(
        addr: SocketAddr,
        registry: &Registry,
        token: usize,
        user: usize,
        path: &'static str,
    ) -> anyhow::Result<Self> {
        let [high, low] = (user as u16 + 2).to_be_bytes();
        let socket = peer::socket([127, 1, high, low])?;
        socket.set_nonblocking(true)?;
        match socket.connect(&addr.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => {
                return Err(error).context("connecting");
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        registry.register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { path, stream, asked: false, answer: Vec::new(), since: Instant::now() })
    }

    /// Goes on as far as possible. True when the answer is there.
    pub fn go_on(&mut self, user: usize) -> anyhow::Result<bool> {
        if !self.asked {
            match self.stream.write(peer::request(self.path, user, false).as_bytes()) {
                Ok(len) => ensure!(len > 100, "the request was cut"),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(false);
                }
                Err(error) => return Err(error).context("asking"),
            }
            self.asked = true;
        }
        let mut buffer = [0; 1024];
        match self.stream.read(&mut buffer) {
            Ok(len) => {
                ensure!(len > 0, "hung up during the handshake");
                self.answer.extend(&buffer[..len]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("reading the answer"),
        }
        Ok(peer::accepted(&self.answer, false)?.is_some())
    }
}

/// Keeps `concurrent` handshakes on their way; each connection hangs up after its own.
pub fn run(meter: &mut Meter, concurrent: usize) -> anyhow::Result<()> {
    let addr = meter.target.addr;
    let mut poll = Poll::new()?;
    let begin = |poll: &Poll, token| Opening::begin(addr, poll.registry(), token, token, "/echo");
    let mut openings = (0..concurrent).map(|token| begin(&poll, token)).collect::<Result<Vec<_>, _>>()?;
    meter.ready();
    let mut events = Events::with_capacity(1024);
    while !meter.is_over()? {
        poll.poll(&mut events, Some(Duration::from_millis(10)))?;
        for event in &events {
            let token = event.token().0;
            if openings[token].go_on(token)? {
                meter.operations += 1;
                let done = std::mem::replace(&mut openings[token], begin(&poll, token)?);
                meter.took(done.since, Instant::now());
            }
        }
    }
    Ok(())
}
