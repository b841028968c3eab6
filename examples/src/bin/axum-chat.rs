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
use websockets_simple_examples::{in_one_line, stop_request};
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
    let server = WebsocketServer::new(ServerParams::mounted());
    server.on_message(|connection, message| async move {
        // Cannot fail: a received message needs no encoding.
        let _ = connection.to_channel().send(message);
    });
    server.start().await?;

    let app = Router::new().route("/rooms/{room}", get(enter).post(say)).with_state(server.clone());
    let stop = stop_request()?;
    let listener = TcpListener::bind(args.listen).await?;
    println!("listening on {}", listener.local_addr()?);
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            stop.await;
            // Before axum stops: axum does not end upgraded connections, and would abort handshakes in progress.
            server.stop().await;
        })
        .await?;
    Ok(())
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
