//! cargo run --release --bin axum-chat
//!
//! An axum application with two routes for a room: GET upgrades the request to a connection, POST sends a text to all
//! connections of the room. The server does not listen itself.
#![expect(clippy::print_stdout, reason = "a program with an output")]

use std::{error::Error, net::SocketAddr, process::ExitCode};

use axum::{
    Router,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use clap::Parser;
use tokio::net::TcpListener;
use websockets_simple_examples::{in_one_line, service, stop_request};
use websockets_simple_server::{Placement, ServerParams, WebsocketServer};

/// A chat inside an axum application.
#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("axum-chat: {}", in_one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let server = rooms();
    server.start().await?;
    let app = app(server.clone());
    let stop = stop_request()?;
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on {}", listener.local_addr()?);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            stop.await;
            // Before axum stops: axum does not end upgraded connections, and would abort handshakes in progress.
            service::stop(&server).await;
        })
        .await?;
    Ok(())
}

/// The server of the rooms: what is sent in one is heard in it.
fn rooms() -> WebsocketServer {
    let server = WebsocketServer::new(ServerParams::mounted());
    server.on_message(|connection, message| async move {
        // Cannot fail: a received message needs no encoding.
        let _ = connection.to_channel().send(message);
    });
    server
}

fn app(server: WebsocketServer) -> Router {
    Router::new().route("/rooms/{room}", get(enter).post(say)).with_state(server)
}

async fn enter(
    State(server): State<WebsocketServer>,
    Path(room): Path<String>,
    request: Request,
) -> Response {
    server.upgrade(request).placement(Placement::new().channel(&room)).await.into_response()
}

async fn say(State(server): State<WebsocketServer>, Path(room): Path<String>, text: String) -> String {
    match server.to_channel(&room).send_text(text) {
        Ok(delivery) => format!("{} heard it\n", delivery.accepted),
        // Cannot happen: a text needs no encoding.
        Err(error) => error.to_string(),
    }
}

/// The whole application over a network in memory, as an application would test itself.
#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use axum::serve::Listener;
    use websockets_simple_client::{ClientEvent, ClientParams, Events, WebsocketClient};
    use websockets_simple_server::test_util::{Dialer, Expect, Incoming, Line, RawPeer, network};

    use super::*;

    /// The lines of a network in memory, for axum.
    struct Memory(Incoming);

    impl Listener for Memory {
        type Io = Line;
        type Addr = ();

        async fn accept(&mut self) -> (Line, ()) {
            match self.0.accept().await {
                Some(line) => (line, ()),
                None => std::future::pending().await,
            }
        }

        fn local_addr(&self) -> io::Result<()> {
            Ok(())
        }
    }

    async fn serve() -> Dialer {
        let server = rooms();
        server.start().await.unwrap();
        let (dialer, incoming) = network();
        tokio::spawn(axum::serve(Memory(incoming), app(server)).into_future());
        dialer
    }

    async fn in_room(dialer: &Dialer, room: &str) -> (WebsocketClient, Events<ClientEvent>) {
        let params = ClientParams::new("chat", 80).path(format!("/rooms/{room}")).connector(dialer.clone());
        let client = WebsocketClient::new(params).unwrap();
        let mut events = client.events();
        client.connect().await.unwrap();
        events.expect_connected().await;
        (client, events)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_and_posted_in_a_room_is_heard_there_and_nowhere_else() {
        let dialer = serve().await;
        let (ronald, mut in_kitchen) = in_room(&dialer, "kitchen").await;
        let (_john, mut in_garden) = in_room(&dialer, "garden").await;
        ronald.send_text("hungry").await.unwrap();
        in_kitchen.expect_text("hungry").await;

        let mut page = RawPeer::new(dialer.dial().await.unwrap());
        page.write(
            b"POST /rooms/kitchen HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6\r\n\r\ndinner",
        )
        .await;
        let answer = String::from_utf8(page.all().await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("1 heard it\n"), "{answer}");
        in_kitchen.expect_text("dinner").await;
        in_garden.expect_silence(Duration::from_secs(3600)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_loses_the_line_is_gone_from_the_room() {
        let dialer = serve().await;
        let (_ronald, mut heard) = in_room(&dialer, "kitchen").await;
        dialer.line().cut();
        heard.expect_closed(None).await;
        let mut page = RawPeer::new(dialer.dial().await.unwrap());
        page.write(
            b"POST /rooms/kitchen HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
        let answer = String::from_utf8(page.all().await).unwrap();
        assert!(answer.ends_with("0 heard it\n"), "{answer}");
    }
}
