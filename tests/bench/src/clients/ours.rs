//! `WebsocketClient` with a handler.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail, ensure};
use tokio::sync::mpsc;
use websockets_simple_client::{ClientEvent, ClientParams, Message, MessageEvent, WebsocketClient};

use super::Round;
use crate::{
    load::{Meter, idle::SETTLING},
    machine::resident,
    sample::Sample,
    servers::certificate_of,
};

/// Opens connections with TLS and looks at the server's memory, before and after one message each.
pub(super) async fn idle_tls(mut meter: Meter, connections: usize) -> anyhow::Result<Sample> {
    const FIRST: usize = 10;
    ensure!(connections > FIRST, "too few connections");
    let process = meter.target.process;
    let pem = std::fs::read(certificate_of(process))?;
    let port = meter.target.addr.port();
    let (told, mut echoes) = mpsc::unbounded_channel();
    let mut clients = Vec::new();
    let mut figures = Vec::new();
    for upto in [FIRST, connections] {
        while clients.len() < upto {
            let params =
                ClientParams::new("localhost", port).secured(true).path("/echo").root_pem(pem.clone());
            let client = WebsocketClient::new(params)?;
            let told = told.clone();
            client.on(move |event| {
                if matches!(event, ClientEvent::Message(_)) {
                    let _ = told.send(());
                }
                std::future::ready(())
            });
            client.connect().await?;
            clients.push(client);
        }
        tokio::time::sleep(SETTLING).await;
        figures.push(resident(process)?);
        for client in &clients {
            client.send(Message::text("x".repeat(1024))).await?;
            echoes.recv().await.context("no client is left")?;
        }
        tokio::time::sleep(SETTLING).await;
        figures.push(resident(process)?);
    }
    std::fs::remove_file(certificate_of(process))?;
    let [_, base, idle, after] = figures[..] else { bail!("four looks at the memory") };
    let each = |now: u64| now.saturating_sub(base) as f64 / (connections - FIRST) as f64;
    meter.bytes_per_connection = Some((each(idle), each(after)));
    meter.rss_bytes = after;
    meter.operations = connections as u64;
    meter.sample()
}

/// Connects one client and sends what it has to send first.
pub(super) async fn open(round: &Arc<Round>) -> anyhow::Result<()> {
    let params = ClientParams::new(round.addr.ip().to_string(), round.addr.port())
        .path("/echo")
        .message_size(crate::servers::MAX_MESSAGE);
    let client = WebsocketClient::new(params)?;
    let seat = Mutex::new(round.seat());
    client.on(move |event| {
        let back = match event {
            ClientEvent::Message(MessageEvent { message: Message::Text(text), connection, .. }) => {
                let mut seat = seat.lock().unwrap_or_else(PoisonError::into_inner);
                seat.came(&text).then_some((text, connection))
            }
            _ => None,
        };
        async move {
            if let Some((text, connection)) = back {
                let _ = connection.send(Message::Text(text)).await;
            }
        }
    });
    let connection = client.connect().await?;
    for text in &round.texts {
        connection.send(Message::text(text.as_str())).await?;
    }
    tokio::spawn(async move {
        let _client = client;
        std::future::pending::<()>().await;
    });
    Ok(())
}
