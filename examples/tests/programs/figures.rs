//! A server's figures, read as Prometheus reads them.

use std::collections::BTreeMap;

use tokio::process::Command;
use websockets_simple_client::{ClientParams, WebsocketClient};
use websockets_simple_server::{Guard, MemoryUsers, Operations, ServerParams, WebsocketServerAuth};

use crate::{installed::python, program::Program};

#[tokio::test]
async fn prometheus_reads_every_figure_with_its_kind_its_labels_and_its_value() {
    let users = MemoryUsers::new();
    let token = users.issue(7_i64);
    let operations = Operations::new().metrics(Guard::bearer("of the monitoring"));
    let server = WebsocketServerAuth::new(ServerParams::local().operations(operations), users);
    server.start().await.unwrap();
    let addr = server.local_addr().unwrap();
    let params = ClientParams::new(addr.ip().to_string(), addr.port());
    let client = WebsocketClient::new(params.clone().token(token)).unwrap();
    client.connect().await.unwrap();
    let stranger = WebsocketClient::new(params.token("guessed")).unwrap();
    stranger.connect().await.unwrap_err();

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/other_clients/python_prometheus.py");
    let mut command = Command::new(python().await);
    command.args([script, &format!("http://{addr}/metrics"), "of the monitoring"]);
    let mut program = Program::spawn(&mut command);
    let mut said = BTreeMap::new();
    let figures = server.figures();
    let text = figures.prometheus();
    // Counters are called without `_total` there.
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).count();
    let values = text.lines().filter(|line| !line.starts_with('#')).count();
    for _ in 0..families + values {
        let line = program.line().await;
        let (what, value) = line.rsplit_once(' ').unwrap();
        said.insert(what.to_owned(), value.to_owned());
    }
    assert!(program.end().await.success);
    let value = |what: &str| said.get(what).map(String::as_str);
    assert_eq!(value("ws_handshakes counter"), Some("4"));
    assert_eq!(value("ws_connections gauge"), Some("4"));
    assert_eq!(value("ws_auth_seconds histogram"), Some("33"));
    assert_eq!(value("ws_connections state=open"), Some("1"));
    assert_eq!(value("ws_refusals_total reason=unauthorized"), Some("1"));
    assert_eq!(value("ws_auth_seconds_count result=authenticated"), Some("1"));
    assert_eq!(value("ws_auth_seconds_bucket le=+Inf result=unauthorized"), Some("1"));
}
