//! cargo run --release --bin signals
//!
//! The full example of Pode's documentation page on Signals, with its web page unchanged, and the two other examples of
//! that documentation: response times on a timer, and the date. Pages and WebSockets share one port.
#![expect(clippy::print_stdout, reason = "a program with an output")]

use std::{
    error::Error,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use bytes::Bytes;
use chrono::Local;
use clap::Parser;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS},
    uri::Authority,
};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};
use websockets_simple_examples::{in_one_line, service, stop_request};
use websockets_simple_server::{
    Anonymous, Endpoint, Heartbeat, HeartbeatMode, Json, RouteError, ServerParams, Signal, WebsocketServer,
};

const INDEX: &str = include_str!("../../signals/index.html");

const SCRIPT: &str = include_str!("../../signals/script.js");

/// The URL from which the page loads jQuery.
const REMOTE_JQUERY: &str = "https://ajax.googleapis.com/ajax/libs/jquery/3.4.1/jquery.min.js";

/// The path from which it loads jQuery with `--jquery`.
const LOCAL_JQUERY: &str = "/jquery.min.js";

const TEXT: &str = "text/plain; charset=utf-8";

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The URL in the script, with the port to replace.
const SOCKETS: &str = "ws://localhost:8091/";

/// Messages to all clients, the date, and response times on a timer.
#[derive(Parser)]
struct Args {
    /// The address to listen on; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8091")]
    listen: SocketAddr,
    /// The interval at which the response times are sent.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    every: Duration,
    /// Serve this jQuery file with the page, which otherwise loads it from ajax.googleapis.com.
    #[arg(long, value_name = "FILE")]
    jquery: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| "not a number".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(Duration::ZERO) => Err("must not be zero".to_owned()),
        Ok(every) => Ok(every),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("signals: {}", in_one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let site = Site::new(args.jquery.as_deref())?;
    let params = ServerParams::local()
        .endpoint(Endpoint::tcp(args.listen))
        .fallback(move |request: Request<Incoming>| std::future::ready(site.answer(&request)))
        // Only our own page may connect. It connects to `localhost`, whatever host name it was opened with.
        .same_origin()
        .origins([format!("http://{}", args.listen)])
        // The page would show a text ping.
        .heartbeat(Heartbeat::new(Duration::from_secs(30), HeartbeatMode::Ping));
    let server = WebsocketServer::new(params);
    add_routes(&server)?;
    let stop = stop_request()?;
    server.start().await?;
    let addr = server.local_addr().ok_or("the server has stopped already")?;
    println!("listening on {addr}");
    println!("In a browser: http://localhost:{}/", addr.port());
    tokio::select! {
        () = stop => {}
        () = tell_durations(&server, args.every) => {}
    }
    service::stop(&server).await;
    Ok(())
}

/// Adds the routes. `/response-times` has none, so that signals of clients there are ignored.
fn add_routes(server: &WebsocketServer) -> Result<(), RouteError> {
    server.route("/msg", |signal| async move {
        let message = if asks_for_date(&signal) { json!(date()).into() } else { signal.data.message.clone() };
        // Cannot fail: the message has a form on the wire, and no broadcast level is set.
        let _ = signal.connection.to_channel().send(Json(json!({ "message": message })));
    })?;
    server.route("/date", |signal| async move {
        if asks_for_date(&signal) {
            let _ = signal.connection.to_channel().send_text(date());
        }
    })
}

fn asks_for_date(signal: &Signal<Anonymous>) -> bool {
    signal.data.message.as_text().is_some_and(|text| text.eq_ignore_ascii_case("[date]"))
}

fn date() -> String {
    Local::now().format("%Y-%m-%d %H:%M:%S").to_string()
}

async fn tell_durations(server: &WebsocketServer, every: Duration) {
    let durations: Value = json!({ "Durations": [123, 101, 104] });
    loop {
        tokio::time::sleep(every).await;
        // Cannot fail, as above.
        let _ = server.to_channel("/response-times").send(Json(&durations));
    }
}

/// The files of the page.
struct Site {
    index: String,
    jquery: Option<Bytes>,
}

impl Site {
    fn new(jquery: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let Some(path) = jquery else { return Ok(Self { index: INDEX.to_owned(), jquery: None }) };
        let jquery =
            std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Ok(Self { index: INDEX.replace(REMOTE_JQUERY, LOCAL_JQUERY), jquery: Some(jquery.into()) })
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let sockets = SOCKETS.replace("8091", &port(request).to_string());
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let (status, kind, content) = match (request.uri().path(), &self.jquery) {
            _ if !reads => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "That cannot be done here.".into()),
            ("/", _) => (StatusCode::OK, "text/html; charset=utf-8", self.index.clone().into()),
            ("/script.js", _) => (StatusCode::OK, JAVASCRIPT, SCRIPT.replace(SOCKETS, &sockets).into()),
            (LOCAL_JQUERY, Some(jquery)) => (StatusCode::OK, JAVASCRIPT, jquery.clone()),
            _ => (StatusCode::NOT_FOUND, TEXT, "There is nothing here.".into()),
        };
        let mut answer = Response::new(Full::new(content));
        *answer.status_mut() = status;
        if !reads {
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        let headers: [(HeaderName, &str); 4] = [
            (CONTENT_TYPE, kind),
            (CACHE_CONTROL, "no-cache"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (CONTENT_SECURITY_POLICY, &policy(&sockets)),
        ];
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("all of these are ASCII");
            answer.headers_mut().insert(name, value);
        }
        answer
    }
}

/// The port of the `Host` header, to which the script has to connect.
fn port(request: &Request<Incoming>) -> u16 {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    host.and_then(|host| host.parse::<Authority>().ok()?.port_u16()).unwrap_or(80)
}

/// The Content-Security-Policy. The script shows messages as HTML, so the browser may run only the page's own scripts.
fn policy(sockets: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self' {REMOTE_JQUERY}; connect-src {sockets}; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    )
}
