//! The live page of a server, as an operator sees it.

use std::time::Duration;

use websockets_simple_client::{ClientParams, WebsocketClient, test_util::RawPeer};
use websockets_simple_server::{
    ClusterParams, Guard, MemoryBus, MemoryUsers, Message, Operations, ServerParams, Token,
    WebsocketServerAuth,
};

use crate::{
    chromium::{Browser, Driver},
    party::anywhere,
};

const PASSWORD: &str = "correct-horse";

/// A node of a cluster, with a page.
async fn node(bus: &MemoryBus, name: &str, users: &MemoryUsers<String>) -> WebsocketServerAuth<String> {
    let operations = Operations::new().live_page(Guard::basic("admin", PASSWORD));
    let params = ServerParams::mounted().endpoint(anywhere()).operations(operations).log_users(true);
    let server = WebsocketServerAuth::<String>::new(params, users.clone());
    let server = server.with_cluster(ClusterParams::new("chat", bus.clone()).node(name));
    server.start().await.unwrap();
    server
}

async fn client(server: &WebsocketServerAuth<String>, channel: &str, token: &Token) -> WebsocketClient {
    let addr = server.local_addr().expect("it listens");
    let params = ClientParams::url(&format!("ws://{addr}")).unwrap().path(channel).token(token.clone());
    let client = WebsocketClient::new(params).unwrap();
    client.connect().await.unwrap();
    client
}

/// Whether the browser has kept to the policy of the page, and the page has thrown nothing.
async fn is_content(browser: &Browser) {
    let threw = browser.value("window.complaints").await;
    assert_eq!(threw, serde_json::json!([]), "what the page has complained of");
}

#[tokio::test]
async fn an_operator_sees_who_is_there_who_is_slow_and_who_was_refused() {
    let bus = MemoryBus::new();
    let users = MemoryUsers::new();
    let token = users.issue("Ronald".to_owned());
    let (server, other) = (node(&bus, "eu-1", &users).await, node(&bus, "eu-2", &users).await);
    let addr = server.local_addr().expect("it listens");
    let mut clients = Vec::new();
    for (server, channel, count) in
        [(&server, "/lobby", 5), (&server, "/<b>rust</b>", 2), (&other, "/lobby", 3)]
    {
        for _ in 0..count {
            clients.push(client(server, channel, &token).await);
        }
    }

    let driver = Driver::start().await;
    let desk = driver.browser("operator").await;
    let complaints = "window.complaints = []; \
        addEventListener('securitypolicyviolation', (event) => complaints.push(event.violatedDirective)); \
        addEventListener('error', (event) => complaints.push(event.message)); \
        addEventListener('unhandledrejection', (event) => complaints.push(String(event.reason)));";
    let early = serde_json::json!({ "source": complaints });
    desk.tool("Page.addScriptToEvaluateOnNewDocument", early.clone()).await;
    let page = format!("http://admin:{PASSWORD}@{addr}/admin");
    desk.open(&page).await;
    desk.reads("#health", "ready").await;
    desk.reads("#numbers div:first-child", "7").await;
    desk.reads("#tables td", "/lobby").await;
    // What a peer has chosen is shown as it was written.
    desk.reads("#tables td", "/<b>rust</b>").await;
    desk.reads("#tables td", "eu-1 (this one)").await;
    desk.reads("#tables tr", "eu-2").await;

    // It says what happens from now on, without being loaded again.
    let stranger = ClientParams::url(&format!("ws://{addr}")).unwrap().token("guessed");
    WebsocketClient::new(stranger).unwrap().connect().await.unwrap_err();
    desk.reads("#tables tr", "unauthorized").await;
    let mut events = server.events();
    let mut slow = RawPeer::connect(addr).await;
    let bearer = format!("Authorization: Bearer {}\r\n", token.expose());
    assert!(slow.request("/news", &bearer).await.starts_with("HTTP/1.1 101 "));
    let connection = loop {
        if let Some(connection) = events.recv().await.expect("the server runs").connection() {
            break connection.clone();
        }
    };
    while connection.statistics().queued_bytes < 200 * 1024 {
        connection.try_send(Message::binary(vec![0; 64 * 1024])).unwrap();
    }
    desk.reads("#tables tr", "\"Ronald\"").await;
    desk.reads("#tables tr", &connection.id().to_string()).await;
    let mut rude = RawPeer::connect(addr).await;
    assert!(rude.request("/lobby", &bearer).await.starts_with("HTTP/1.1 101 "));
    rude.write(&[0x81, 1, b'x']).await;
    desk.reads("#tables tr", "protocol").await;
    clients.remove(0);
    desk.reads("#numbers div:first-child", "7").await;
    desk.sees("document.querySelector('#chart .open').getAttribute('points').includes(' ')").await;
    is_content(&desk).await;
    desk.sees("document.querySelector('#tables b') === null").await;
    let tall = serde_json::json!({ "width": 1000, "height": 1330, "deviceScaleFactor": 1, "mobile": false });
    desk.tool("Emulation.setDeviceMetricsOverride", tall).await;
    desk.picture("live-page").await;

    let phone = driver.phone("operator-on-the-way").await;
    phone.tool("Page.addScriptToEvaluateOnNewDocument", early).await;
    phone.open(&page).await;
    phone.reads("#tables tr", "eu-2").await;
    phone.sees("innerWidth === 390").await;
    phone.sees("document.documentElement.scrollWidth <= innerWidth").await;
    is_content(&phone).await;
    phone.picture("live-page-phone").await;

    // A server that stops says so for as long as it is there, and the page says when it is not.
    server.stop().await;
    desk.reads("#health", "no answer for").await;
    for browser in [desk, phone] {
        browser.close().await;
    }
    driver.end().await;
    other.stop().await;
}

#[tokio::test]
async fn who_has_no_password_sees_no_page() {
    let server = node(&MemoryBus::new(), "eu-1", &MemoryUsers::new()).await;
    let addr = server.local_addr().expect("it listens");
    let driver = Driver::start().await;
    let browser = driver.browser("stranger").await;
    browser.open(&format!("http://stranger:guessed@{addr}/admin")).await;
    browser.sees("document.querySelector('#numbers') === null").await;
    tokio::time::timeout(Duration::from_secs(30), browser.close()).await.unwrap();
    driver.end().await;
}
