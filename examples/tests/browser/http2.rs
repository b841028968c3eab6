//! Pages and sockets over one connection of HTTP/2.

use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::{Request, Response, Version, body::Incoming};
use websockets_simple_examples::{
    authority::Authority,
    chat::{self, Room},
    page::Page,
};
use websockets_simple_server::{ServerParams, ServerTls, SubscribeOptions, WebsocketServer};

use crate::{chromium::Driver, party::anywhere};

fn tls() -> ServerTls {
    let authority = Authority::new("a test").unwrap();
    ServerTls::new(authority.issue(&["localhost"], 1).unwrap().identity())
}

#[tokio::test]
async fn chromium_opens_its_sockets_as_streams_of_the_connection_of_the_page() {
    for http2 in [true, false] {
        // Versions and ports by which pages were asked for.
        let pages = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&pages);
        let params = ServerParams::mounted()
            .endpoint(anywhere().tls(if http2 { tls().http2() } else { tls() }))
            .same_origin()
            .fallback(move |request: Request<Incoming>| {
                let peer = *request.extensions().get::<std::net::SocketAddr>().unwrap();
                asked.lock().unwrap().push((request.version(), peer));
                let mut page = Response::new(Full::from("<!doctype html><title>sockets</title>"));
                page.headers_mut().insert("content-type", "text/html".parse().unwrap());
                std::future::ready(page)
            });
        let server = WebsocketServer::new(params);
        server.on_message(|connection, message| async move {
            let _ = connection.send(message).await;
        });
        server.start().await.unwrap();
        let driver = Driver::start().await;
        let browser = driver.trusting_browser("sockets").await;
        browser.open(&format!("https://localhost:{}/", server.local_addr().unwrap().port())).await;
        for number in 0..3 {
            browser
                .value(&format!(
                    "window.socket{number} = new WebSocket(location.href.replace('https', 'wss')), \
                     window.socket{number}.onopen = () => window.socket{number}.send('hello {number}'), \
                     window.socket{number}.onmessage = (event) => window.heard{number} = event.data, true"
                ))
                .await;
            browser.sees(&format!("window.heard{number} === 'hello {number}'")).await;
        }
        let peers = server.connections().iter().map(|one| one.peer_addr().unwrap()).collect::<Vec<_>>();
        assert_eq!(peers.len(), 3);
        let (version, page) = pages.lock().unwrap()[0];
        assert_eq!(version, if http2 { Version::HTTP_2 } else { Version::HTTP_11 });
        assert_eq!(peers.iter().all(|peer| *peer == page), http2, "{peers:?} {page}");
        // A page that closes its sockets says so, and one that goes away ends them.
        browser.value("window.socket0.close(), true").await;
        wait_for(&server, 2).await;
        browser.close().await;
        wait_for(&server, 0).await;
        driver.end().await;
        server.stop().await;
    }
}

#[tokio::test]
async fn the_page_of_the_chat_works_over_http_2() {
    let params = chat::params(anywhere().tls(tls().http2())).same_origin();
    let server = WebsocketServer::new(Page::for_guests().behind(params));
    Room::open_to_guests(&server);
    server.start().await.unwrap();
    let driver = Driver::start().await;
    let url = format!("https://localhost:{}/", server.local_addr().unwrap().port());
    let (ronald, john) = (driver.trusting_browser("Ronald").await, driver.trusting_browser("John").await);
    for (browser, name) in [(&ronald, "Ronald"), (&john, "John")] {
        browser.open(&url).await;
        browser.enters("#entry", name).await;
        browser.reads("#me", name).await;
    }
    ronald.enters("#text", "Hello John").await;
    john.reads("#log .said", "Hello John").await;
    ronald.close().await;
    john.close().await;
    driver.end().await;
    server.stop().await;
}

async fn wait_for(server: &WebsocketServer, connections: usize) {
    // With those of the connections that are open already: their end counts, too.
    let mut events = server.events_with(SubscribeOptions::default().replay());
    let counted = async {
        while server.connection_count() != connections {
            events.recv().await.expect("the server runs");
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), counted).await.expect("in time");
}
