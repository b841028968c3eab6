//! cargo run --release --bin mtls
//!
//! A server that authenticates users by their certificates, and four clients that try to connect: with a certificate,
//! without one, with one of another authority, with a revoked one. Ends by itself.
#![expect(clippy::print_stdout, reason = "a program with an output")]

use std::{error::Error, process::ExitCode};

use websockets_simple_client::{ClientEvent, ClientParams, WebsocketClient};
use websockets_simple_examples::{
    authority::{Authority, Issued},
    in_one_line,
};
use websockets_simple_server::{
    Authenticated, ClientCertificates, Credentials, Endpoint, HandshakeRequest, ServerParams, ServerTls,
    UserService, UserServiceError, WebsocketServerAuth, async_trait,
};

/// Users by the common name of their certificate. TLS has already checked that the certificate is of our authority,
/// valid and not revoked.
struct ByCommonName;

#[async_trait]
impl UserService for ByCommonName {
    type Id = String;

    async fn authenticate(
        &self,
        credentials: &Credentials,
        _request: &HandshakeRequest<'_>,
    ) -> Result<Option<Authenticated<String>>, UserServiceError> {
        Ok(credentials.certificate().and_then(|certificate| {
            let name = certificate.common_name()?.to_owned();
            Some(
                Authenticated::new(name).credential(certificate.serial()).expires_at(certificate.not_after()),
            )
        }))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mtls: {}", in_one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (ours, other) = (Authority::new("ours")?, Authority::new("somebody else's")?);
    let clients = ClientCertificates::required().issued_by(ours.pem()).revoked(ours.revocation_list(&[66])?);
    let tls = ServerTls::new(ours.issue(&["localhost"], 1)?.identity()).client_certificates(clients);
    let endpoint = Endpoint::tcp(([127, 0, 0, 1], 0).into()).tls(tls);
    let server = WebsocketServerAuth::<String>::new(ServerParams::local().endpoint(endpoint), ByCommonName);
    server.on_connect(|connection| async move {
        let _ = connection.send_text(format!("hello {}", connection.user_id())).await;
    });
    server.start().await?;
    let port = server.local_addr().ok_or("the server has stopped already")?.port();
    for (what, shown) in [
        ("a certificate of ours", Some(ours.issue(&["ronald"], 7)?)),
        ("no certificate", None),
        ("a certificate of another authority", Some(other.issue(&["ronald"], 7)?)),
        ("a revoked certificate", Some(ours.issue(&["mallory"], 66)?)),
    ] {
        println!("{what}: {}", attempt(&ours, port, shown.as_ref()).await);
    }
    server.stop().await;
    Ok(())
}

/// The greeting of the server, or why the connection failed.
async fn attempt(root: &Authority, port: u16, shown: Option<&Issued>) -> String {
    let mut params =
        ClientParams::new("localhost", port).secured(true).root_pem(root.pem()).only_given_roots();
    if let Some(issued) = shown {
        params = params.identity(issued.identity());
    }
    match greeting(params).await {
        Ok(greeting) => greeting,
        Err(error) => in_one_line(&*error),
    }
}

async fn greeting(params: ClientParams) -> Result<String, Box<dyn Error>> {
    let client = WebsocketClient::new(params)?;
    let mut events = client.events();
    client.connect().await?;
    while let Some(event) = events.recv().await {
        if let ClientEvent::Message(event) = event {
            client.disconnect().await;
            return Ok(event.message.as_text().unwrap_or_default().to_owned());
        }
    }
    Err("the server sent no greeting".into())
}
