//! The module in a browser: lines that die without a word, networks that go, pages that are left.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};
use websockets_simple_examples::page::Page;
use websockets_simple_server::{Heartbeat, HeartbeatMode, ServerParams, WebsocketServer};

use crate::{
    chromium::{Browser, Driver},
    party::anywhere,
};

/// A server with a page, whose clients may be in any group.
async fn server(interval: Duration) -> (WebsocketServer, SocketAddr) {
    let params = ServerParams::mounted().endpoint(anywhere()).subprotocols(["chat.v1"]);
    let params = params.heartbeat(Heartbeat::new(interval, HeartbeatMode::Ping)).same_origin();
    let server = WebsocketServer::new(Page::for_guests().behind(params)).with_group_rule(|_, _| true);
    server.start().await.unwrap();
    let addr = server.local_addr().expect("it listens");
    (server, addr)
}

/// Passes bytes on until it is told to stall: then the connections that it has stay open, and are silent for ever.
/// Those that come later are passed on.
struct Relay {
    addr: SocketAddr,
    stall: watch::Sender<u32>,
    /// Texts of the browser that have passed.
    texts: watch::Receiver<u32>,
}

async fn relay(to: SocketAddr) -> Relay {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stall, stalled) = watch::channel(0);
    let (heard, texts) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            let far = TcpStream::connect(to).await.unwrap();
            let (near, far) = (near.into_split(), far.into_split());
            tokio::spawn(pass_on(near.0, far.1, stalled.clone(), Some(heard.clone())));
            tokio::spawn(pass_on(far.0, near.1, stalled.clone(), None));
        }
    });
    Relay { addr, stall, texts }
}

async fn pass_on(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut stalled: watch::Receiver<u32>,
    texts: Option<watch::Sender<u32>>,
) {
    stalled.mark_unchanged();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = stalled.changed() => std::future::pending().await,
        };
        match read {
            Ok(read @ 1..) if to.write_all(&buffer[..read]).await.is_ok() => {
                // A browser's answer to a ping is another frame.
                if let Some(texts) = texts.as_ref().filter(|_| buffer[0] == 0x81) {
                    texts.send_modify(|texts| *texts += 1);
                }
            }
            _ => return,
        }
    }
}

/// A browser whose page is connected through the module, and in a group.
async fn connected(browser: Browser, at: SocketAddr) -> Browser {
    browser.open(&format!("http://{at}/")).await;
    let begun = browser
        .value(
            "(async () => {
                const { WebsocketClient } = await import('/websockets-simple.js');
                const client = new WebsocketClient(`ws://${location.host}/`, { subprotocols: ['chat.v1'], baseDelay: 50 });
                Object.assign(window, { client, told: [], groups: [] });
                client.addEventListener('disconnected', ({ detail }) => told.push(`${detail.code} ${detail.reason}`));
                client.addEventListener('group', ({ detail }) => groups.push(`${detail.group} ${detail.joined}`));
                client.connect();
                await client.connected();
                await client.join('red');
                return `${client.subprotocol} ${client.hasControls}`;
            })()",
        )
        .await;
    assert_eq!(begun, "chat.v1 true");
    browser
}

/// The page is connected again, and in its group again.
async fn is_back(browser: &Browser, told: &str) {
    browser.sees("client.state === 'connected' && groups.length === 2 && groups[1] === 'red true'").await;
    assert_eq!(browser.value("told").await, json!([told]));
}

#[tokio::test]
async fn a_line_that_dies_without_a_word_is_noticed_and_replaced() {
    // Asked about after 11 s of silence, and given up 5 s later.
    let (server, addr) = server(Duration::from_secs(1)).await;
    let mut relay = relay(addr).await;
    let driver = Driver::start().await;
    let browser = connected(driver.browser("Ronald").await, relay.addr).await;
    // The first probe is answered, as a browser does not see ping frames: there is a second one on the same connection.
    relay.texts.mark_unchanged();
    for _ in 0..2 {
        tokio::time::timeout(Duration::from_secs(30), relay.texts.changed()).await.expect("a probe").unwrap();
    }
    assert_eq!(browser.value("[client.state, told.length]").await, json!(["connected", 0]));
    relay.stall.send_modify(|times| *times += 1);
    is_back(&browser, "1006 no answer to a probe").await;
    server.to_group("/", "red").send_text("to red").unwrap();
    browser.close().await;
    driver.end().await;
}

#[tokio::test]
async fn a_page_that_was_frozen_leaves_its_dead_line_when_it_runs_again() {
    let (server, addr) = server(Duration::from_secs(1)).await;
    let mut relay = relay(addr).await;
    let driver = Driver::start().await;
    let browser = connected(driver.browser("Ronald").await, relay.addr).await;
    let lifecycle = |state: &str| json!({ "state": state });
    browser.tool("Page.setWebLifecycleState", lifecycle("frozen")).await;
    relay.texts.mark_unchanged();
    // A page that runs would have asked after 11 s. 10 s later it has slept.
    let asked = tokio::time::timeout(Duration::from_secs(22), relay.texts.changed()).await;
    assert!(asked.is_err(), "it is not frozen");
    relay.stall.send_modify(|times| *times += 1);
    browser.tool("Page.setWebLifecycleState", lifecycle("active")).await;
    // Where Chromium does not end the connection of such a page itself, the module asks for a sign of life.
    browser.sees("client.state === 'connected' && groups.length === 2 && groups[1] === 'red true'").await;
    let told = browser.value("told").await;
    assert!(told == json!(["1006 "]) || told == json!(["1006 no answer to a probe"]), "{told}");
    server.to_group("/", "red").send_text("to red").unwrap();
    browser.close().await;
    driver.end().await;
}

#[tokio::test]
async fn a_browser_without_a_network_leaves_the_connection_and_is_back_with_the_network() {
    let (server, addr) = server(Duration::from_secs(3600)).await;
    let driver = Driver::start().await;
    let browser = connected(driver.browser("Ronald").await, addr).await;
    let network = |offline: bool| json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
    browser.tool("Network.enable", json!({})).await;
    browser.tool("Network.emulateNetworkConditions", network(true)).await;
    browser.sees("told.length > 0 && told[0] === '1006 the browser is offline'").await;
    browser.tool("Network.emulateNetworkConditions", network(false)).await;
    browser.sees("client.state === 'connected' && groups.at(-1) === 'red true' && groups.length > 1").await;
    server.to_group("/", "red").send_text("to red").unwrap();
    browser.close().await;
    driver.end().await;
}

#[tokio::test]
async fn a_page_that_is_kept_closes_its_connection_and_is_connected_again_when_it_is_shown() {
    let (server, addr) = server(Duration::from_secs(3600)).await;
    let left = Arc::new(Notify::new());
    let leaves = Arc::clone(&left);
    server.on_disconnect(move |_, _| {
        leaves.notify_one();
        async {}
    });
    let driver = Driver::start().await;
    let browser = connected(driver.keeping_browser("Ronald").await, addr).await;
    browser.open(&format!("http://{addr}/chat.css")).await;
    tokio::time::timeout(Duration::from_secs(30), left.notified()).await.expect("the page is hidden");
    browser.back().await;
    browser.sees("window.client !== undefined").await;
    is_back(&browser, "1001 the page is hidden").await;
    browser.close().await;
    driver.end().await;
}
