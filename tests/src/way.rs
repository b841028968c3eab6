//! With and without TLS: what a test of the outgoing path needs of either.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
    server,
};
use websockets_simple_client::ClientParams;
use websockets_simple_server::{ServerParams, ServerTls};

use crate::{
    authority::{Authority, Issued, secured},
    params,
    raw::RawPeer,
    within,
};

/// How client and server reach each other.
pub trait Way: Send + Sync {
    /// What a raw peer speaks over.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// What a raw server speaks over.
    type Accepted: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Parameters of a server on a free port.
    fn server(&self) -> ServerParams;

    /// Parameters of a client.
    fn client(&self, addr: SocketAddr) -> ClientParams;

    /// Makes a TCP connection one of this kind.
    fn over(&self, stream: TcpStream) -> impl Future<Output = Self::Stream> + Send;

    /// Makes a TCP connection that was accepted one of this kind.
    fn accept(&self, stream: TcpStream) -> impl Future<Output = Self::Accepted> + Send;

    /// A raw peer that has shaken hands, with that much room in the kernel for what it receives.
    fn peer(
        &self,
        addr: SocketAddr,
        target: &str,
        room: Option<u32>,
    ) -> impl Future<Output = RawPeer<Self::Stream>> + Send {
        async move {
            let socket = TcpSocket::new_v4().expect("a socket");
            if let Some(bytes) = room {
                socket.set_recv_buffer_size(bytes).expect("a buffer");
            }
            let stream = within(socket.connect(addr)).await.expect("it listens");
            stream.set_nodelay(true).expect("a TCP socket");
            let mut peer = RawPeer::new(self.over(stream).await);
            let head = peer.request(target, "").await;
            assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
            peer
        }
    }
}

/// TCP alone.
#[derive(Debug, Default)]
pub struct Plain;

/// TLS, with an authority of its own.
#[derive(Debug, Default)]
pub struct Tls(Authority);

impl Tls {
    /// What the server shows.
    #[must_use]
    pub fn server_tls(&self) -> ServerTls {
        self.0.server()
    }

    /// A TLS connection of a client that offers these protocols (ALPN).
    pub async fn offering(&self, stream: TcpStream, alpn: &[&str]) -> TlsStream<TcpStream> {
        secure(&self.0, stream, alpn, None).await
    }
}

/// A TLS connection of a client that trusts this authority, offers these protocols (ALPN), and shows this certificate.
///
/// # Panics
///
/// When there is none.
pub async fn secure(
    authority: &Authority,
    stream: TcpStream,
    alpn: &[&str],
    shown: Option<&Issued>,
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("a certificate");
    roots.add(root).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_root_certificates(roots);
    let mut config = match shown {
        None => config.with_no_client_auth(),
        Some(shown) => {
            let chain = vec![CertificateDer::from_pem_slice(shown.chain.as_bytes()).expect("a certificate")];
            let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).expect("a key");
            config.with_client_auth_cert(chain, key).expect("they belong together")
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").expect("a name");
    within(TlsConnector::from(Arc::new(config)).connect(name, stream)).await.expect("it speaks TLS")
}

impl Way for Plain {
    type Stream = TcpStream;
    type Accepted = TcpStream;

    fn server(&self) -> ServerParams {
        ServerParams::local()
    }

    fn client(&self, addr: SocketAddr) -> ClientParams {
        params(addr)
    }

    async fn over(&self, stream: TcpStream) -> TcpStream {
        stream
    }

    async fn accept(&self, stream: TcpStream) -> TcpStream {
        stream
    }
}

impl Way for Tls {
    type Stream = TlsStream<TcpStream>;
    type Accepted = server::TlsStream<TcpStream>;

    fn server(&self) -> ServerParams {
        secured(self.server_tls())
    }

    fn client(&self, addr: SocketAddr) -> ClientParams {
        self.0.trusted(addr.port())
    }

    async fn over(&self, stream: TcpStream) -> TlsStream<TcpStream> {
        self.offering(stream, &[]).await
    }

    async fn accept(&self, stream: TcpStream) -> server::TlsStream<TcpStream> {
        let issued = self.0.issue(&["localhost"], |_| ());
        let chain = vec![CertificateDer::from_pem_slice(issued.chain.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows them")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they belong together");
        within(TlsAcceptor::from(Arc::new(config)).accept(stream)).await.expect("it speaks TLS")
    }
}
