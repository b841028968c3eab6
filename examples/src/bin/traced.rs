//! cargo run --release --bin traced
//!
//! One trace of OpenTelemetry over both ends: what a client does, the handshake of the server, and the calls of its
//! handler. The spans are kept in memory and printed; a real program gives them to an exporter for its collector.
#![allow(clippy::print_stdout, reason = "this is a program")]

use std::{collections::HashMap, error::Error};

use opentelemetry::{
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanId, TracerProvider},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{InMemorySpanExporter, SdkTracerProvider, SpanData},
};
use tracing::{Instrument, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};
use websockets_simple_client::{ClientEvent, ClientParams, WebsocketClient};
use websockets_simple_server::{RequestHead, ServerParams, SubscribeOptions, WebsocketServer};

/// The headers of a request, of which OpenTelemetry reads `traceparent`.
struct Headers<'a>(&'a RequestHead);

impl Extractor for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.header(name)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("traced"));
    tracing_subscriber::registry().with(layer).init();

    let server = WebsocketServer::new(ServerParams::local()).with_handshake_span(|request| {
        let span = info_span!(
            "ws.handshake",
            otel.kind = "server",
            channel = request.head().channel(),
            connection = field::Empty,
            refused = field::Empty
        );
        let _ = span.set_parent(TraceContextPropagator::new().extract(&Headers(request.head())));
        span
    });
    server.on_with(SubscribeOptions::default().spans(), |event| async move {
        if let (Some(message), Some(connection)) = (event.message(), event.connection()) {
            let _ = connection.send(message.clone()).await;
        }
    });
    server.start().await?;
    let addr = server.local_addr().ok_or("the server has stopped already")?;

    let visit = info_span!("visit", otel.kind = "client");
    let mut headers = HashMap::new();
    TraceContextPropagator::new().inject_context(&visit.context(), &mut headers);
    let params = ClientParams::url(&format!("ws://{addr}/room"))?;
    let params = headers.into_iter().fold(params, |params, (name, value)| params.header(&name, value));
    let client = WebsocketClient::new(params)?;
    async {
        let mut events = client.events();
        client.connect().await?;
        client.send_text("hello").await?;
        while let Some(event) = events.recv().await {
            if let ClientEvent::Message(event) = event {
                println!("heard: {}", event.message);
                break;
            }
        }
        Ok::<_, Box<dyn Error>>(())
    }
    .instrument(visit)
    .await?;
    client.disconnect().await;
    server.stop().await;

    provider.force_flush()?;
    let spans = exporter.get_finished_spans()?;
    for span in spans.iter().filter(|span| span.parent_span_id == SpanId::INVALID) {
        print(span, &spans, 0);
    }
    Ok(())
}

/// A span, and those that it is the parent of.
fn print(span: &SpanData, spans: &[SpanData], depth: usize) {
    let shown = |name: &&opentelemetry::KeyValue| ["channel", "event"].contains(&name.key.as_str());
    let fields: Vec<_> =
        span.attributes.iter().filter(shown).map(|field| format!(" {}={}", field.key, field.value)).collect();
    println!("{}{}{}", "  ".repeat(depth), span.name, fields.concat());
    for child in spans.iter().filter(|child| child.parent_span_id == span.span_context.span_id()) {
        print(child, spans, depth + 1);
    }
}
