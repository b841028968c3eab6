//! cargo bench -p websockets-simple-tests --all-features --bench cluster_memory -- [channels] [view]
//!
//! What a cluster takes of the heap of a node, and for how long it keeps a sender waiting: 10,000 channels with a
//! connection each, beside the same without a cluster; users and channels of other nodes, a snapshot of which comes, is
//! replaced, and is forgotten. nats-server of Debian is needed.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and fails by a panic")]

use peak_alloc::PeakAlloc;

mod channels;
mod fake_node;
#[allow(dead_code, reason = "the other benchmark uses all of it")]
#[path = "../cluster_cost/helper.rs"]
mod helper;
mod view;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[tokio::main]
async fn main() {
    let arguments = helper::arguments();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["clients", addr] => return channels::clients(addr.parse().unwrap()).await,
        ["server", bus] => return channels::server(bus).await,
        ["known", what, count] => return view::known(what, count.parse().unwrap()).await,
        _ => {}
    }
    let is_wanted = |what| arguments.is_empty() || arguments.contains(&what);
    if is_wanted("channels") {
        channels::measure().await;
    }
    if is_wanted("view") {
        view::measure().await;
    }
}
