//! An event stream that nobody reads is said in the log, and to those who read.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::time::Duration;

use websockets_simple_client::{ClientEvent, ErrorStage, WebsocketClient};
use websockets_simple_tests::{captured::Captured, params};

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_for_30_s_is_a_warning_and_an_error_event() {
    let said = Captured::everything();
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = WebsocketClient::new(params(closed)).unwrap();
    let _unread = client.events();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    client.on(move |event| {
        if let ClientEvent::Error(event) = &event
            && event.stage == ErrorStage::EventStream
        {
            let _ = told.send(event.error.to_string());
        }
        std::future::ready(())
    });
    client.connect().await.unwrap_err();
    assert!(!said.text().contains("an event stream is not read"));
    tokio::time::advance(Duration::from_secs(31)).await;
    client.connect().await.unwrap_err();
    assert!(heard.recv().await.unwrap().contains("has not been read for 31 s"));
    let warning =
        said.text().lines().find(|line| line.contains("an event stream is not read")).unwrap().to_owned();
    assert!(warning.contains("WARN"), "{warning}");
}
