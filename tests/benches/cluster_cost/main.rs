//! cargo bench -p websockets-simple-tests --all-features --bench cluster_cost -- [sends] [across] [idle]
//!
//! What a cluster takes of its nodes and of their bus: CPU time of the sending thread for a message to nobody; the time
//! from `send` at one node to the event of a client at another one, beside that of the bus alone, and what both nodes and
//! the bus spend on it; what nodes spend that have nothing to do, and those at which clients come and go. nats-server and
//! redis-server of Debian are needed.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and fails by a panic")]

mod across;
mod helper;
mod idle;
mod node;
mod raw_bus;
mod sends;

fn main() {
    let arguments = helper::arguments();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    // The sends are of one thread.
    let thread = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match arguments[..] {
        ["node", name, url] => return on_workers(node::run(name.to_owned(), url.to_owned())),
        ["publisher", url] => return on_workers(raw_bus::publish(url.to_owned())),
        _ => {}
    }
    let is_wanted = |what| arguments.is_empty() || arguments.contains(&what);
    if is_wanted("sends") {
        thread().block_on(sends::measure());
    }
    if is_wanted("across") {
        on_workers(across::measure());
    }
    if is_wanted("idle") {
        on_workers(idle::measure());
    }
}

/// As in most applications: on several threads, and what waits for messages is a task. The future of `block_on` is not
/// one, and each wake of it goes to another thread.
fn on_workers(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(runtime.spawn(work)).unwrap();
}
