//! SOCKS5 (RFC 1928), with user name and password (RFC 1929).

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::lost;
use crate::{
    config::{Credentials, Host},
    error::ProxyError,
};

/// The version of SOCKS, and that of the exchange of user name and password.
const VERSION: u8 = 5;
const PASSWORD_VERSION: u8 = 1;

/// Methods of authentication.
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;

/// The command to connect to a server, and the kinds of addresses.
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Asks a SOCKS5 proxy for a connection to the server, and reads its answer and no byte more.
pub(super) async fn tunnel<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    host: &Host,
    port: u16,
    credentials: Option<&Credentials>,
) -> Result<(), ProxyError> {
    let methods: &[u8] = match credentials {
        None => &[VERSION, 1, NO_AUTHENTICATION],
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, PASSWORD],
    };
    send(stream, methods).await?;
    let [version, method] = read(stream).await?;
    if version != VERSION {
        return Err(ProxyError::BadResponse("it is not SOCKS5"));
    }
    match (method, credentials) {
        (NO_AUTHENTICATION, _) => {}
        (PASSWORD, Some(credentials)) => authenticate(stream, credentials).await?,
        (NO_METHOD, _) => return Err(ProxyError::Unauthorized),
        _ => return Err(ProxyError::BadResponse("it asks for authentication that was not offered")),
    }
    send(stream, &request(host, port)).await?;
    let [version, reply, _, kind] = read(stream).await?;
    match (version, reply) {
        (VERSION, 0) => {}
        (VERSION, reply) => return Err(ProxyError::Socks5(reply)),
        _ => return Err(ProxyError::BadResponse("it is not SOCKS5")),
    }
    // The address from which the proxy connects; its length is that of the largest with the port behind it.
    let size = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(read::<1, _>(stream).await?[0]),
        _ => return Err(ProxyError::BadResponse("its address is of an unknown kind")),
    };
    let mut address = [0; u8::MAX as usize + 2];
    stream.read_exact(&mut address[..size + 2]).await.map_err(lost)?;
    Ok(())
}

async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    Credentials { user, password }: &Credentials,
) -> Result<(), ProxyError> {
    let mut message = vec![PASSWORD_VERSION];
    for text in [user, password] {
        push_counted(&mut message, text.expose());
    }
    send(stream, &message).await?;
    // Not all proxies put the version of this exchange in front of the status.
    let [_, status] = read(stream).await?;
    if status == 0 { Ok(()) } else { Err(ProxyError::Unauthorized) }
}

fn request(host: &Host, port: u16) -> Vec<u8> {
    let mut message = vec![VERSION, CONNECT, 0];
    match host.certified.parse() {
        Ok(IpAddr::V4(address)) => {
            message.push(IPV4);
            message.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            message.push(IPV6);
            message.extend(address.octets());
        }
        Err(_) => {
            message.push(NAME);
            push_counted(&mut message, &host.certified);
        }
    }
    message.extend(port.to_be_bytes());
    message
}

/// A text behind its length, which the check of the parameters has limited to one byte.
fn push_counted(message: &mut Vec<u8>, text: &str) {
    message.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    message.extend(text.bytes().take(u8::MAX.into()));
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, message: &[u8]) -> Result<(), ProxyError> {
    stream.write_all(message).await.map_err(lost)?;
    stream.flush().await.map_err(lost)
}

async fn read<const N: usize, S: AsyncRead + Unpin>(stream: &mut S) -> Result<[u8; N], ProxyError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(lost)?;
    Ok(bytes)
}
