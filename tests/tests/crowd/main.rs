//! Many connections at one server, of which some leave and others come, while broadcasts go to all: what it takes, and that
//! nothing is lost. Server and clients are processes of their own.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

mod clients;
mod failures;
mod health;
mod heard;
mod life;
mod line;
mod memory;
mod open_files;
mod plan;
mod plot;
mod quantiles;
mod receipts;
mod report;
mod server;

use std::{fs, time::Duration};

use clients::Clients;
use health::HealthChecks;
use plan::Plan;
use report::Report;
use server::ServerProcess;
use tokio::time::timeout;
use websockets_simple_tests::crowd::now;

/// Time for all that is still on its way at the end.
const LONGEST: Duration = Duration::from_secs(120);

/// A run from its first connection to its last. Panics if anything was lost, doubled or disordered.
async fn run(plan: &Plan) -> Report {
    open_files::raise(plan.files());
    let mut server = ServerProcess::start(plan).await;
    let alone = server.resident();
    let mut clients = Clients::new(plan, server.addr);
    clients.fill().await;
    let checks = HealthChecks::start(server.addr, plan.pace);
    let full = now();
    clients.churn(plan.seconds).await;
    let churned = now();
    let checks = checks.stop().await;
    // All that have connected are open: they are to hear the last one.
    clients.settle().await;
    server.say("last").await;
    let lives = timeout(LONGEST, clients.gone())
        .await
        .unwrap_or_else(|_| panic!("clients have not heard the last broadcast"));
    server.say("count").await;
    let told = timeout(LONGEST, server.ended()).await.expect("the server ends");
    let report = Report::new(plan, alone, full..churned, told, lives, checks);
    report.print();
    report.check();
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_crowd_misses_nothing_while_some_leave_and_others_come() {
    let report = run(&Plan::small()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crowd.svg");
    plot::draw(&report, &path).unwrap();
    let svg = fs::read_to_string(&path).unwrap();
    for text in ["connections", "resident", "heap in use", "broadcast, p99"] {
        assert!(svg.lines().any(|line| line.trim() == text), "no {text} in\n{svg}");
    }
    assert!(svg.matches("<polyline").count() >= 4, "{svg}");
}

/// `.ci/slow crowd`, which is `cargo test --release -p websockets-simple-tests --all-features --test crowd -- --ignored
/// --nocapture`. `CROWD_CONNECTIONS` and `CROWD_SECONDS` say how many for how long, `CROWD_PLOT` where to draw it, seen from the
/// folder of this crate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes CROWD_SECONDS, by default ten minutes: .ci/slow runs it"]
async fn a_crowd_misses_nothing_and_takes_no_more_memory_at_the_end_than_at_the_beginning() {
    let report = run(&Plan::from_environment()).await;
    if let Some(path) = std::env::var_os("CROWD_PLOT") {
        plot::draw(&report, path.as_ref()).unwrap();
    }
    report.check_memory();
}
