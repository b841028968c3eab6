//! Compression with the WebSocket of a browser.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde_json::json;
use websockets_simple_server::{Compression, Limits, OverflowPolicy, ServerParams, WebsocketServer};

use crate::chromium::Driver;

/// Has messages of sizes around each threshold echoed, several at a time, and tells how many came back as they were.
const ECHOES: &str = r#"new Promise((resolve, reject) => {
    const socket = new WebSocket("ws://ADDR/");
    socket.binaryType = "arraybuffer";
    const sent = [];
    const same = (a, b) => typeof a === "string" ? a === b : a.length === b.byteLength && new Uint8Array(b).every((byte, at) => byte === a[at]);
    let echoed = 0;
    socket.onopen = () => {
        for (let again = 0; again < 2; again++) {
            for (const size of [0, 1, 125, 126, 1023, 1024, 1025, 65535, 65536, 1 << 20]) {
                const plain = '{"id":17,"name":"somebody","online":true},'.repeat(size / 40 + 1).slice(0, size);
                const letters = "ż日😀".repeat(size / 9);
                const noise = new Uint8Array(size);
                for (let at = 0; at < size; at += 65536) crypto.getRandomValues(noise.subarray(at, at + 65536));
                for (const message of [plain, letters, noise]) {
                    sent.push(message);
                    socket.send(message);
                }
            }
        }
    };
    socket.onmessage = ({ data }) => {
        if (!same(sent[echoed], data)) reject("echo " + echoed + " differs");
        if (++echoed === sent.length) resolve(socket.extensions + ": " + echoed);
    };
    socket.onclose = ({ code }) => reject("closed with " + code);
})"#;

#[tokio::test]
async fn a_browser_compresses_with_us_and_reads_what_we_compress() {
    let limits = Limits::default().messages_per_second(None).bytes_per_second(None);
    let params = ServerParams::local().compression(Compression::new()).limits(limits).outbox(16 << 20);
    let patience = std::time::Duration::from_secs(30);
    let server = WebsocketServer::new(params.overflow(OverflowPolicy::Wait(patience)));
    // Bytes of messages, and what the echoes take on the wire.
    let said = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let _subscription = server.on_message({
        let said = Arc::clone(&said);
        move |connection, message| {
            let said = Arc::clone(&said);
            async move {
                connection.send(message).await.unwrap();
                let statistics = connection.statistics();
                said.0.store(statistics.bytes_received, Ordering::Relaxed);
                said.1.store(statistics.bytes_sent, Ordering::Relaxed);
            }
        }
    });
    server.start().await.unwrap();
    let addr = server.local_addr().unwrap();
    let driver = Driver::start().await;
    let browser = driver.browser("reader").await;
    // Any page of this machine, as others may not connect to it: here the answer to who wants no WebSocket.
    browser.open(&format!("http://{addr}/")).await;
    let echoes = browser.value(&ECHOES.replace("ADDR", &addr.to_string())).await;
    assert_eq!(
        echoes,
        json!("permessage-deflate; server_no_context_takeover; client_no_context_takeover: 60")
    );
    // Of each three messages two get much shorter.
    let (said, sent) = (said.0.load(Ordering::Relaxed), said.1.load(Ordering::Relaxed));
    assert!(sent < said / 3 + said / 30, "{sent} bytes for {said}");
    browser.close().await;
    driver.end().await;
    server.stop().await;
}
