//! The pages of Pode's document on Signals.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header::HOST};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;
use websockets_simple_client::{ClientEvent, ClientParams, Events, Message, WebsocketClient};
use websockets_simple_server::{ServerParams, SignalDefault, SignalReach, WebsocketServer};

use crate::{
    chromium::{Browser, Driver},
    installed::node_modules,
    program::Program,
};

const PATIENCE: Duration = Duration::from_secs(30);

const FIELD: &str = "input[name=message]";

async fn jquery() -> PathBuf {
    node_modules().await.join("jquery/dist/jquery.min.js")
}

async fn connected(url: &str) -> (WebsocketClient, Events<ClientEvent>) {
    let client = WebsocketClient::new(ClientParams::url(url).unwrap()).unwrap();
    let events = client.events();
    client.connect().await.unwrap();
    (client, events)
}

/// Looks again and again, until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

#[tokio::test]
async fn what_one_browser_submits_both_show_and_its_script_does_not_run() {
    let jquery = jquery().await;
    let args = ["--listen", "127.0.0.1:0", "--jquery", jquery.to_str().unwrap()];
    let mut program = Program::start(env!("CARGO_BIN_EXE_signals"), &args);
    let addr = program.address().await;
    let page = program.line().await;
    let page = page.strip_prefix("In a browser: ").expect("where to look");
    let driver = Driver::start().await;
    let (ann, ben) = (driver.browser("Ann").await, driver.browser("Ben").await);
    // Nothing on the page tells when it is connected.
    let (caller, _) = connected(&format!("ws://{addr}/msg")).await;
    for browser in [&ann, &ben] {
        browser.open(page).await;
        until("the page hears", async || {
            caller.send(Message::text(json!({ "message": "are you there?" }).to_string())).await.unwrap();
            browser.value("document.querySelector('#messages p') !== null").await == true
        })
        .await;
    }

    ann.enters(FIELD, "Hello Ben, zażółć 你好").await;
    ann.sees("document.querySelector('input[name=message]').value === ''").await;
    for browser in [&ann, &ben] {
        browser.reads("#messages p", r#"{"message":"Hello Ben, zażółć 你好"}"#).await;
    }
    ben.enters(FIELD, "[date]").await;
    for browser in [&ann, &ben] {
        browser
            .sees(
                r#"[...document.querySelectorAll('#messages p')].some((one) =>
                    /^\{"message":"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"\}$/.test(one.innerText))"#,
            )
            .await;
    }

    // The page takes messages for HTML, but was told to run no script but its own.
    ben.value(
        "void (window.refused = []) ?? addEventListener('securitypolicyviolation',
            (event) => refused.push(event.effectiveDirective))",
    )
    .await;
    ann.enters(FIELD, "<img src=x onerror=document.title='owned'>").await;
    ann.enters(FIELD, "<script>document.title='owned'</script>").await;
    ben.sees("refused.includes('script-src-attr') && refused.includes('script-src-elem')").await;
    assert_eq!(ben.value("document.title").await, "WebSockets");
    ann.close().await;
    ben.close().await;
    driver.end().await;
}

/// The page of the document that hears, to which what is submitted is added before its end.
const HEARS: &str = r#"
$(document).ready(() => {
    // create the websocket
    var ws = new WebSocket("ws://localhost:8091/response-times");

    // event for inbound messages to append them
    ws.onmessage = function(evt) {
        var data = JSON.parse(evt.data)
        $('#messages').append(`<p>${data.Message}</p>`);
    }
"#;

/// The ways of the document to submit, by the path of the page that has it.
const SUBMITS: [(&str, &str); 3] = [
    (
        "/message",
        r"
$('#form').submit(function(e) {
    e.preventDefault();
    ws.send(JSON.stringify({ message: $('#input').val() }));
    $('#input').val('');
})",
    ),
    (
        "/path",
        r"
$('#form').submit(function(e) {
    e.preventDefault();
    ws.send(JSON.stringify({ message: $('#input').val(), path: '/receive' }));
    $('#input').val('');
})",
    ),
    (
        "/direct",
        r"
$('#form').submit(function(e) {
    e.preventDefault();
    ws.send(JSON.stringify({ message: $('#input').val(), direct: true }));
    $('#input').val('');
})",
    ),
];

fn page(request: &Request<Incoming>, jquery: &Bytes) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if path == "/jquery.js" {
        return Response::new(Full::new(jquery.clone()));
    }
    let submit = SUBMITS.iter().find(|(page, _)| *page == path).map_or("", |(_, submit)| submit);
    let port = request.headers()[HOST].to_str().unwrap().rsplit_once(':').unwrap().1;
    let hears = HEARS.replace("8091", port);
    let html = format!(
        "<!doctype html><script src=/jquery.js></script><script>{hears}{submit}}})</script>
         <form id=form><input id=input></form><div id=messages></div>"
    );
    Response::builder().header("content-type", "text/html; charset=utf-8").body(html.into()).unwrap()
}

/// A server without any route, a browser, and a client that listens on `/receive`.
struct Scene {
    server: WebsocketServer,
    browser: Browser,
    _client: WebsocketClient,
    events: Events<ClientEvent>,
}

impl Scene {
    async fn set(driver: &Driver) -> Self {
        let jquery = Bytes::from(std::fs::read(jquery().await).unwrap());
        let params = ServerParams::local()
            .signals(SignalDefault::Rebroadcast)
            .signal_reach(SignalReach::AnyChannel)
            .fallback(move |request: Request<Incoming>| std::future::ready(page(&request, &jquery)));
        let server = WebsocketServer::new(params);
        server.start().await.unwrap();
        let addr = server.local_addr().unwrap();
        let (client, events) = connected(&format!("ws://{addr}/receive")).await;
        Self { server, browser: driver.browser("Ann").await, _client: client, events }
    }

    /// Opens a page once that before it is gone, and waits until it is connected.
    async fn opens(&self, path: &str) {
        self.browser.open("about:blank").await;
        self.counts(1).await;
        let port = self.server.local_addr().unwrap().port();
        self.browser.open(&format!("http://localhost:{port}{path}")).await;
        self.counts(2).await;
        self.tells("/response-times", "ready");
        self.browser.reads("#messages p", "ready").await;
    }

    async fn counts(&self, connections: usize) {
        until("connections", async || self.server.connection_count() == connections).await;
    }

    /// Types the JSON that the page of the document reads.
    async fn submits(&self, message: &str) {
        self.browser.enters("#input", &json!({ "Message": message }).to_string()).await;
    }

    fn tells(&self, channel: &str, message: &str) {
        let message = Message::text(json!({ "Message": message }).to_string());
        assert_eq!(self.server.to_channel(channel).send(message).unwrap().accepted, 1);
    }

    /// Everything that the page has heard.
    async fn shows(&self, messages: &[&str]) {
        self.browser.reads("#messages p", messages.last().unwrap()).await;
        let shown =
            self.browser.value("[...document.querySelectorAll('#messages p')].map((one) => one.innerText)");
        assert_eq!(shown.await, json!(messages));
    }

    /// The next message on `/receive`.
    async fn receives(&mut self, message: &str) {
        let heard = async {
            loop {
                if let ClientEvent::Message(event) = self.events.recv().await.unwrap() {
                    break event.message;
                }
            }
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await.expect("a message in time");
        assert_eq!(heard.as_text(), Some(&*json!({ "Message": message }).to_string()));
    }
}

#[tokio::test]
async fn without_a_route_what_a_page_submits_goes_to_all_to_the_path_it_names_or_back() {
    let driver = Driver::start().await;
    let mut scene = Scene::set(&driver).await;

    scene.opens("/message").await;
    scene.submits("for all").await;
    scene.receives("for all").await;
    scene.shows(&["ready", "for all"]).await;

    scene.opens("/path").await;
    scene.submits("for one path").await;
    scene.receives("for one path").await;
    scene.tells("/response-times", "end");
    scene.shows(&["ready", "end"]).await;

    scene.opens("/direct").await;
    scene.submits("for me").await;
    scene.shows(&["ready", "for me"]).await;
    scene.tells("/receive", "end");
    scene.receives("end").await;

    scene.browser.close().await;
    driver.end().await;
}
