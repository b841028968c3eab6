//! A TCP connection that is read and written without waiting, with TLS or without.

use std::{
    cell::RefCell,
    io::{self, ErrorKind, IoSlice, Read, Write},
    sync::Arc,
};

use mio::{Interest, Registry, Token, net::TcpStream};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// Ciphertext of one read.
const READ: usize = 64 * 1024;

thread_local! {
    static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Trusts the one certificate that is given as PEM.
pub fn client_config(certificate: &[u8]) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate)?)?;
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// Shows the certificate that is given as PEM.
pub fn server_config(certificate: &str, key: &str) -> anyhow::Result<Arc<ServerConfig>> {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    Ok(Arc::new(ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?))
}

/// The client's end of a TLS connection to `localhost`.
pub fn client(config: &Arc<ClientConfig>) -> anyhow::Result<ClientConnection> {
    Ok(ClientConnection::new(Arc::clone(config), "localhost".try_into()?)?)
}

/// The server's end of a TLS connection.
pub fn server(config: &Arc<ServerConfig>) -> anyhow::Result<ServerConnection> {
    Ok(ServerConnection::new(Arc::clone(config))?)
}

/// See the module.
pub struct Wire {
    stream: TcpStream,
    tls: Option<Box<Tls>>,
}

struct Tls {
    connection: Connection,
    /// Plaintext that had no room in the buffer of the last read.
    ahead: Vec<u8>,
}

impl Wire {
    pub fn new(stream: TcpStream, tls: Option<impl Into<Connection>>) -> Self {
        let tls = tls.map(|tls| Box::new(Tls { connection: tls.into(), ahead: Vec::new() }));
        Self { stream, tls }
    }

    pub fn register(&mut self, registry: &Registry, token: usize) -> io::Result<()> {
        registry.register(&mut self.stream, Token(token), Interest::READABLE | Interest::WRITABLE)
    }

    /// Reads what there is, up to the length of `buffer`. What is less than that is all there was.
    ///
    /// `WouldBlock` where there is nothing, 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.read(&mut self.stream, buffer),
            None => self.stream.read(buffer),
        }
    }

    /// Writes what the socket, or for TLS the buffer in front of it, takes.
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => tls.write(&mut self.stream, slices),
            None => match slices {
                [one] => self.stream.write(one),
                several => self.stream.write_vectored(several),
            },
        }
    }

    /// Writes what TLS holds back.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.flush(&mut self.stream),
            None => Ok(()),
        }
    }
}

impl Tls {
    fn read(&mut self, stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let mut len = self.ahead.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.ahead[..len]);
        self.ahead.drain(..len);
        let ended = INPUT.with_borrow_mut(|input| {
            while len < buffer.len() {
                match stream.read(input) {
                    Ok(0) => return Ok(true),
                    Ok(read) => self.decrypt(&input[..read], buffer, &mut len)?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(false)
        })?;
        self.flush(stream)?;
        if len == 0 && !ended { Err(ErrorKind::WouldBlock.into()) } else { Ok(len) }
    }

    fn decrypt(&mut self, mut input: &[u8], buffer: &mut [u8], len: &mut usize) -> io::Result<()> {
        while !input.is_empty() {
            self.connection.read_tls(&mut input)?;
            self.connection.process_new_packets().map_err(io::Error::other)?;
            loop {
                let read = if *len < buffer.len() {
                    let read = self.connection.reader().read(&mut buffer[*len..]);
                    *len += *read.as_ref().unwrap_or(&0);
                    read
                } else {
                    self.connection.reader().read_to_end(&mut self.ahead)
                };
                match read {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, stream: &mut TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let len = self.connection.writer().write_vectored(slices)?;
        self.flush(stream)?;
        if len > 0 {
            return Ok(len);
        }
        // The buffer was full; what was written since has made room.
        match self.connection.writer().write_vectored(slices)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            len => Ok(len),
        }
    }

    fn flush(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Wire, Wire) {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let trusting = client_config(cert.pem().as_bytes()).unwrap();
        let trusted = server_config(&cert.pem(), &signing_key.serialize_pem()).unwrap();
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        let near = Wire::new(TcpStream::from_std(near), Some(client(&trusting).unwrap()));
        (near, Wire::new(TcpStream::from_std(far), Some(server(&trusted).unwrap())))
    }

    /// What there is, if anything.
    fn some(result: io::Result<usize>) -> usize {
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            other => other.unwrap(),
        }
    }

    #[test]
    fn tls_carries_more_than_any_buffer_holds_whatever_the_size_of_reads() {
        for size in [7, 1000, 300_000] {
            let (mut near, mut far) = pair();
            let message: Vec<u8> = (0..1_000_000u32).map(|at| (at % 251) as u8).collect();
            let (mut sent, mut came, mut buffer) = (0, Vec::<u8>::new(), vec![0; size]);
            while came.len() < message.len() {
                let (one, other) = message[sent..].split_at((message.len() - sent) / 3);
                sent += some(near.write(&[IoSlice::new(one), IoSlice::new(other)]));
                // The handshake of the near end goes on by its reads.
                some(near.read(&mut [0]));
                let len = some(far.read(&mut buffer));
                came.extend(&buffer[..len]);
            }
            assert!(came == message);
        }
    }

    #[test]
    fn an_end_that_hangs_up_is_the_end_of_input() {
        let (near, mut far) = pair();
        drop(near);
        assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
    }
}
