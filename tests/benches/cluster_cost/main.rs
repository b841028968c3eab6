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
    // As most servers of applications; the sends are of one thread.
    let threads = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let thread = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match arguments[..] {
        ["node", name, url] => return threads().block_on(node::run(name, url)),
        ["publisher", url] => return threads().block_on(raw_bus::publish(url)),
        _ => {}
    }
    let is_wanted = |what| arguments.is_empty() || arguments.contains(&what);
    if is_wanted("sends") {
        thread().block_on(sends::measure());
    }
    if is_wanted("across") {
        threads().block_on(across::measure());
    }
    if is_wanted("idle") {
        threads().block_on(idle::measure());
    }
}
