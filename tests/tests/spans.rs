//! The spans of handshakes and handlers. Alone in this file, as it listens to all spans of its process.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock},
};

use tracing::{
    Id, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Record},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::{LookupSpan, Registry},
};
use websockets_simple_server::{
    MemoryUsers, Placement, ServerParams, SubscribeOptions, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{
    ended, opened,
    raw::{self, RawPeer},
    received, started, within,
};

const TRACE: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

/// The spans that were closed: their names and fields.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

/// What is known of an open span.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!(" {field}={value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0 += &format!(" {field}={value}");
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut fields = Fields(span.name().to_owned());
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        self.0.lock().unwrap().push(span.extensions().get::<Fields>().unwrap().0.clone());
    }
}

impl Spans {
    fn of_this_process() -> Self {
        static SPANS: OnceLock<Spans> = OnceLock::new();
        let spans = SPANS.get_or_init(|| {
            let spans = Self::default();
            tracing::subscriber::set_global_default(Registry::default().with(spans.clone())).unwrap();
            spans
        });
        spans.clone()
    }

    /// Those that have this in their fields, once there are so many.
    async fn with(&self, field: &str, count: usize) -> Vec<String> {
        within(async {
            loop {
                let spans = self.0.lock().unwrap().clone();
                let spans: Vec<_> = spans.into_iter().filter(|span| span.contains(field)).collect();
                if spans.len() >= count {
                    return spans;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }
}

#[tokio::test]
async fn a_handshake_is_a_span_that_ends_with_its_answer_and_not_with_the_connection() {
    let spans = Spans::of_this_process();
    let users = MemoryUsers::new();
    users.add("secret-of-ann", 7_i64);
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users).with_placement(|_, _| {
        assert_eq!(tracing::Span::current().metadata().unwrap().name(), "ws.handshake");
        Placement::new()
    });
    let addr = started(&server).await;
    let mut events = server.events();
    let peer = RawPeer::open(addr, "/opened?token=secret-of-ann", TRACE).await;
    let id = opened(&mut events).await.id().to_string();
    let expected = format!(
        "ws.handshake otel.kind=server channel=/opened client=127.0.0.1 trace_id=0af7651916cd43dd8448eb211c80319c \
         parent_id=b7ad6b7169203331 connection={id}"
    );
    assert_eq!(spans.with("channel=/opened", 1).await, [expected], "the connection is open");
    drop(peer);
    ended(&mut events).await;
    assert_eq!(spans.with("channel=/opened", 1).await.len(), 1);
    assert_eq!(spans.with("secret", 0).await, [""; 0]);
}

#[tokio::test]
async fn the_span_of_a_refused_handshake_says_why() {
    let spans = Spans::of_this_process();
    let users = MemoryUsers::<i64>::new();
    let server = WebsocketServerAuth::<i64>::new(ServerParams::local().origins(["https://a.example"]), users);
    let addr = started(&server).await;
    for (headers, why) in [("", "unauthorized"), ("Origin: https://evil.example\r\n", "origin")] {
        let mut peer = RawPeer::connect(addr).await;
        // Without a token elsewhere, the path would be one.
        let headers = format!("Authorization: Bearer guessed\r\n{headers}");
        peer.write(raw::request("/refused", &headers).as_bytes()).await;
        peer.head().await;
        let of = format!("channel=/refused client=127.0.0.1 refused={why}");
        assert_eq!(spans.with(&of, 1).await, [format!("ws.handshake otel.kind=server {of}")]);
    }
}

#[tokio::test]
async fn a_function_of_the_application_makes_the_span() {
    let spans = Spans::of_this_process();
    let server = WebsocketServer::new(ServerParams::local()).with_handshake_span(|request| {
        assert!(request.head().channel() != "/panics", "a secret");
        tracing::info_span!(
            "sign_in",
            tenant = request.head().header("x-tenant"),
            connection = tracing::field::Empty
        )
    });
    let addr = started(&server).await;
    let mut events = server.events();
    let _peer = RawPeer::open(addr, "/", "X-Tenant: acme\r\n").await;
    let id = opened(&mut events).await.id().to_string();
    assert_eq!(spans.with("sign_in", 1).await, [format!("sign_in tenant=acme connection={id}")]);
    let mut peer = RawPeer::connect(addr).await;
    peer.write(raw::request("/panics", "").as_bytes()).await;
    assert!(peer.head().await.starts_with("HTTP/1.1 500 "));
}

#[tokio::test]
async fn calls_of_handlers_are_spans_only_where_they_are_asked_for() {
    let spans = Spans::of_this_process();
    let server = WebsocketServer::new(ServerParams::local());
    server.on_with(SubscribeOptions::default().spans(), |_| async {
        assert_eq!(tracing::Span::current().metadata().unwrap().name(), "ws.handler");
        tokio::task::yield_now().await;
        assert_eq!(tracing::Span::current().metadata().unwrap().name(), "ws.handler");
    });
    server.on(|_| async {
        assert!(tracing::Span::current().metadata().is_none_or(|span| span.name() != "ws.handler"));
    });
    let addr = started(&server).await;
    let mut events = server.events();
    let mut peer = RawPeer::open(addr, "/handled", "").await;
    let id = opened(&mut events).await.id().to_string();
    peer.text("hello").await;
    received(&mut events).await;
    drop(peer);
    ended(&mut events).await;
    let handled = spans.with(&id, 4).await;
    let of = |event: &str| format!("ws.handler event={event} connection={id} channel=/handled");
    let handled: Vec<_> = handled.iter().filter(|span| span.starts_with("ws.handler")).collect();
    assert_eq!(handled, [&of("connected"), &of("message"), &of("disconnected")]);
}
