//! The client of the Autobahn testsuite, against a server that asks as a fuzzing server does.

use std::sync::{Arc, Mutex};

use websockets_simple_server::{
    CloseCode, Connection, ConnectionEventKind, Event, Handler, Identity, Message, ServerParams,
    WebsocketServer,
};

use crate::program::Program;

/// What was asked for, and what came back.
#[derive(Clone, Default)]
struct Fuzzing(Arc<Mutex<Vec<String>>>);

impl Fuzzing {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    /// Case 1 sends text and binary, case 2 nothing at all.
    async fn begin<I: Identity>(&self, connection: &Connection<I>) {
        let agent = connection.query("agent").unwrap_or_default().into_owned();
        let case = connection.query("case").unwrap_or_default().into_owned();
        self.note(format!("{} {case} {agent}", connection.channel()).trim().to_owned());
        match (connection.channel(), &*case) {
            ("/getCaseCount", _) => {
                connection.send(Message::text("2")).await.unwrap();
                connection.close(CloseCode::NORMAL, "");
            }
            ("/runCase", "1") => {
                connection.send(Message::text("hello")).await.unwrap();
                connection.send(Message::binary(vec![0; 300_000])).await.unwrap();
            }
            _ => {
                connection.close(CloseCode::NORMAL, "");
            }
        }
    }
}

impl<I: Identity> Handler<Event<I>> for Fuzzing {
    async fn handle(&self, event: Event<I>) {
        match event {
            Event::Connection(event) => {
                if let ConnectionEventKind::Connected(connection) = event.kind {
                    self.begin(&connection).await;
                }
            }
            Event::Message(event) => match &event.message {
                Message::Text(text) => self.note(format!("echo of {text}")),
                Message::Binary(bytes) => {
                    self.note(format!("echo of {} bytes", bytes.len()));
                    event.connection.close(CloseCode::NORMAL, "");
                }
            },
            _ => {}
        }
    }
}

#[tokio::test]
async fn every_case_is_run_and_the_reports_are_asked_for() {
    let fuzzing = Fuzzing::default();
    let server = WebsocketServer::new(ServerParams::local());
    server.subscribe(fuzzing.clone());
    server.start().await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());

    let client = Program::start(env!("CARGO_BIN_EXE_autobahn-client"), &[&url, "an agent"]).end().await;
    assert!(client.success, "{}", client.stderr);
    assert_eq!(client.lines, ["2 cases", "case 1 of 2 done", "case 2 of 2 done", "reports updated"]);
    let noted = [
        "/getCaseCount",
        "/runCase 1 an agent",
        "echo of hello",
        "echo of 300000 bytes",
        "/runCase 2 an agent",
        "/updateReports  an agent",
    ];
    assert_eq!(*fuzzing.0.lock().unwrap(), noted);
}

#[tokio::test]
async fn without_a_server_the_client_fails_with_a_clear_error() {
    let client =
        Program::start(env!("CARGO_BIN_EXE_autobahn-client"), &["ws://127.0.0.1:1", "agent"]).end().await;
    assert!(!client.success);
    assert!(client.stderr.starts_with("autobahn-client: cannot connect: "), "{}", client.stderr);
}
