//! Handshakes.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use mio::{Events, Interest, Poll, Registry, Token, net::TcpStream};
use nix::errno::Errno;
use socket2::{Domain, Socket, Type};

use crate::load::{Meter, peer};

/// A connection on its way to its 101.
struct Opening {
    stream: TcpStream,
    asked: bool,
    answer: Vec<u8>,
    since: Instant,
}

impl Opening {
    fn begin(addr: SocketAddr, registry: &Registry, token: usize) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        // An address of its own for each: the ports of a single one, kept for a minute each, would soon be used up.
        let [high, low] = (token as u16 + 2).to_be_bytes();
        socket.bind(&SocketAddr::from(([127, 1, high, low], 0)).into())?;
        match socket.connect(&addr.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => {
                return Err(error).context("connecting");
            }
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
        registry.register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, asked: false, answer: Vec::new(), since: Instant::now() })
    }

    /// Goes on as far as possible. True when the answer is there.
    fn go_on(&mut self, token: usize) -> anyhow::Result<bool> {
        if !self.asked {
            match self.stream.write(peer::request("/echo", token).as_bytes()) {
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
        Ok(peer::accepted(&self.answer)?.is_some())
    }
}

/// Keeps `concurrent` handshakes on their way; each connection hangs up after its own.
pub fn run(meter: &mut Meter, concurrent: usize) -> anyhow::Result<()> {
    let addr = meter.target.addr;
    let mut poll = Poll::new()?;
    let begin = |poll: &Poll, token| Opening::begin(addr, poll.registry(), token);
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
