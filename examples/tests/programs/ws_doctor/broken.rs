//! Servers that are wrong in one way each. They run until the test ends.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server with a certificate for this name, until the end of this year. After TLS it answers as told.
    pub(crate) async fn server(&self, name: &str, until: i32, answer: Answer) -> SocketAddr {
        let (params, key) = certificate(name, until);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        secured(certificate, &key, answer).await
    }
}

/// A server whose certificate nobody vouches for.
pub(crate) async fn self_signed(name: &str) -> SocketAddr {
    let (params, key) = certificate(name, 4000);
    let certificate = params.self_signed(&key).unwrap();
    secured(certificate, &key, Answer::NotFound).await
}

fn certificate(name: &str, until: i32) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(until, 12, 31);
    (params, KeyPair::generate().unwrap())
}

async fn secured(certificate: rcgen::Certificate, key: &KeyPair, answer: Answer) -> SocketAddr {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::builder_with_provider(websockets_simple_core::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    accepting(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer.give(stream).await;
            }
        }
    })
    .await
}

/// What a server says to a handshake.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// A page.
    Page,
    /// 401, with the token repeated in header and body.
    Unauthorized,
    NotFound,
    Redirect,
    /// 101 without headers.
    Bare,
    /// 101 with the key of another request.
    WrongAccept,
    /// 101 with a subprotocol that was not offered.
    OtherSubprotocol,
    /// 101 with an extension that was not offered.
    Extension,
    /// Something else than HTTP.
    Mail,
    /// The credentials, cut in the middle, without HTTP around them.
    Babble,
    /// This many hints in front of a 404.
    Hints(usize),
    /// As good as it gets, and then nothing.
    NoPong,
    /// 101, and a Close with 1008 right after it.
    Goodbye,
}

impl Answer {
    async fn give(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Some(head) = head(&mut stream).await else { return };
        let line = |name: &str| {
            head.lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(it, _)| *it == name)
                .map(|(_, it)| it)
        };
        let accept = derive_accept_key(line("Sec-WebSocket-Key").unwrap_or_default().as_bytes());
        let open = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n"
        );
        let page = |status: &str, headers: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
        };
        let answer = match self {
            Self::Page => page("200 OK", "", "<html>welcome</html>"),
            Self::Unauthorized => {
                // All that came is sent back: it holds the token, wherever it was.
                let target = head.split(' ').nth(1).unwrap();
                let all = [line("Authorization"), line("Sec-WebSocket-Protocol"), Some(target)];
                let all = all.into_iter().flatten().collect::<Vec<_>>().join(" and ");
                page(
                    "401 Unauthorized",
                    &format!("X-Echo: {all}\r\nLocation: {target}\r\n"),
                    &format!("not {all}"),
                )
            }
            Self::NotFound => page("404 Not Found", "", "\u{1b}[2Jno such page"),
            Self::Redirect => page("302 Found", "Location: https://example.com/?token=abcdef\r\n", ""),
            Self::Bare => "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
            Self::WrongAccept => open.replace(&accept, "AAAAAAAAAAAAAAAAAAAAAAAAAAA=") + "\r\n",
            Self::OtherSubprotocol => open + "Sec-WebSocket-Protocol: other\r\n\r\n",
            Self::Extension => open + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
            Self::Mail => "220 mail.example ESMTP\r\n".to_owned(),
            Self::Hints(count) => {
                "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(count) + &page("404 Not Found", "", "")
            }
            Self::Babble => format!("who is {}", &line("Authorization").unwrap_or_default()[..20]),
            Self::NoPong | Self::Goodbye => open + "\r\n",
        };
        let mut bytes = answer.into_bytes();
        if matches!(self, Self::Goodbye) {
            bytes.extend([0x88, 2]);
            bytes.extend(1008_u16.to_be_bytes());
        }
        let _ = stream.write_all(&bytes).await;
        let _ = stream.flush().await;
        if matches!(self, Self::NoPong | Self::Goodbye) {
            // Reads on, so that the client decides how it ends.
            while let Ok(1..) = stream.read(&mut [0; 1024]).await {}
        }
    }
}

/// A server that answers without TLS.
pub(crate) async fn plain(answer: Answer) -> SocketAddr {
    accepting(move |stream| answer.give(stream)).await
}

/// A server without TLS that says at once that it does not understand.
pub(crate) async fn puzzled() -> SocketAddr {
    accepting(|mut stream: TcpStream| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        while let Ok(1..) = stream.read(&mut [0; 1024]).await {}
    })
    .await
}

/// A server that accepts connections and says nothing.
pub(crate) async fn silent() -> SocketAddr {
    accepting(|mut stream: TcpStream| async move { while let Ok(1..) = stream.read(&mut [0; 1024]).await {} })
        .await
}

/// A proxy that lets this user in, whose credentials are in Base64, and no other.
pub(crate) async fn proxy(user: &'static str) -> SocketAddr {
    accepting(move |mut stream| async move {
        let Some(head) = head(&mut stream).await else { return };
        if !head.contains(&format!("\r\nProxy-Authorization: Basic {user}\r\n")) {
            let refusal = format!("HTTP/1.1 407 Proxy Authentication Required\r\nX-Echo: {head}");
            let _ = stream.write_all(refusal.replace("\r\nHost", " Host").as_bytes()).await;
            return;
        }
        let target = head.split(' ').nth(1).unwrap();
        let Ok(mut server) = TcpStream::connect(target).await else {
            let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
            return;
        };
        let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
    })
    .await
}

/// A server that sends this header again and again, for as long as it can; and how many bytes it got rid of.
pub(crate) async fn flooding(header: String) -> (SocketAddr, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let addr = accepting(move |mut stream| {
        let (header, count) = (header.clone(), Arc::clone(&count));
        async move {
            if head(&mut stream).await.is_none() {
                return;
            }
            let mut next = "HTTP/1.1 101 Switching Protocols\r\n".to_owned();
            while stream.write_all(next.as_bytes()).await.is_ok() {
                count.fetch_add(next.len(), Ordering::Relaxed);
                next.clone_from(&header);
            }
        }
    })
    .await;
    (addr, sent)
}

/// An address on which nothing listens.
pub(crate) async fn nothing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn accepting<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    addr
}

/// The head of a request.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(bytes).ok()
}
