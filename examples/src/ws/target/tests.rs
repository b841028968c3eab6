//! Options, and the parameters that they make.

use clap::Parser;
use websockets_simple_client::WebsocketClient;

use super::*;
use crate::ws::exit::Exit;

#[derive(Parser)]
struct Alone {
    #[command(flatten)]
    target: Target,
}

fn target(args: &[&str]) -> Target {
    Alone::try_parse_from(["ws"].iter().chain(args)).unwrap().target
}

fn failure(args: &[&str]) -> Failure {
    match target(args).params() {
        Ok(params) => WebsocketClient::new(params).unwrap_err().into(),
        Err(failure) => failure,
    }
}

#[test]
fn a_url_without_a_scheme_is_ws() {
    assert_eq!(target(&["localhost:8080/room"]).url().unwrap().as_str(), "ws://localhost:8080/room");
    assert_eq!(target(&["wss://chat.example"]).url().unwrap().as_str(), "wss://chat.example/");
}

#[test]
fn what_cannot_be_used_is_said() {
    for (args, exit, said) in [
        (
            &["ftp://a.example"][..],
            Exit::Usage,
            "the URL is not usable: its scheme is not ws, wss, http or https",
        ),
        (
            &["a.example", "-H", "Upgrade: x"],
            Exit::Usage,
            "the header `Upgrade` is reserved for the handshake or the token",
        ),
        (&["a.example", "-s", "a b"], Exit::Usage, "`a b` is not a valid subprotocol name"),
        (
            &["a.example", "--proxy", "https://p:1"],
            Exit::Usage,
            "the URL of the proxy is not usable: proxies that are connected to by TLS (https) are not supported",
        ),
        (
            &["a.example", "--token-env", "WS_NO_SUCH"],
            Exit::Local,
            "the environment variable WS_NO_SUCH is not set",
        ),
    ] {
        let failure = failure(args);
        assert_eq!((failure.exit(), failure.to_string().as_str()), (exit, said));
    }
    let missing = failure(&["a.example", "--root", "no/such.pem"]);
    assert_eq!(missing.exit(), Exit::Local);
    assert!(missing.to_string().starts_with("cannot read no/such.pem: "), "{missing}");
}

#[test]
fn there_is_one_token_at_most() {
    let two = ["ws", "a.example", "--token-env", "A", "--token-file", "b"];
    assert!(Alone::try_parse_from(two).is_err());
}

#[test]
fn a_time_is_in_seconds() {
    assert_eq!(seconds("2.5"), Ok(Duration::from_millis(2500)));
    for text in ["-1", "soon", "NaN", "1e300"] {
        assert!(seconds(text).is_err(), "{text}");
    }
}

#[test]
fn nothing_that_may_be_secret_is_in_the_debug_form() {
    let args = ["ws://a.example/?token=hush", "-H", "Cookie: hush", "--proxy", "http://me:hush@p:1"];
    assert!(!format!("{:?}", target(&args)).contains("hush"));
    let command = ["a.example", "--token-command", "echo hush"];
    assert!(!format!("{:?}", target(&command)).contains("hush"));
}
