//! The option `--compat` of the programs.

use websockets_simple_client::{
    ClientEvent, ClientParams, Compatibility, DefaultPacket, Events, Message, WebsocketClient,
};

use crate::{
    chat::{CLIENT, SERVER},
    program::Program,
};

async fn text(events: &mut Events<ClientEvent>) -> String {
    let hears = async {
        loop {
            if let ClientEvent::Message(event) = events.recv().await.unwrap() {
                return event.message.as_text().unwrap().to_owned();
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), hears).await.expect("a text in time")
}

#[tokio::test]
async fn the_echo_server_serves_clients_of_either_generation() {
    for (compat, mode) in [("v6", Compatibility::DotNetV6), ("v7", Compatibility::DotNetV7)] {
        let mut server = Program::start(
            env!("CARGO_BIN_EXE_echo-server"),
            &["--listen", "127.0.0.1:0", "--compat", compat],
        );
        let addr = server.address().await;
        let params = ClientParams::url(&format!("ws://{addr}")).unwrap().token("any").compatibility(mode);
        let client = WebsocketClient::new(params).unwrap();
        let mut events = client.events();
        // To a v6 server this waits for the words.
        client.connect().await.unwrap();
        assert_eq!(text(&mut events).await, "Connected Successfully");
        let packet =
            websockets_simple_server::IntoMessage::into_message(&DefaultPacket::new("hello")).unwrap();
        client.send(&packet).await.unwrap();
        assert_eq!(Message::text(text(&mut events).await), packet);
        assert!(client.disconnect().await.unwrap().clean);
    }
}

#[tokio::test]
async fn people_with_clients_of_either_generation_take_part_in_the_chat() {
    for compat in ["v6", "v7"] {
        let args = ["--listen", "127.0.0.1:0", "--store", ":memory:", "--anonymous", "--compat", compat];
        let mut server = Program::start(SERVER, &args);
        let addr = server.address().await;
        let url = format!("ws://{addr}/?name=Old");
        let mut old = Program::start(CLIENT, &["--url", &url, "--compat", compat]);
        old.shows(&["Old joined.", "Welcome Old."]).await;
        let mut new = Program::start(CLIENT, &["--url", &format!("ws://{addr}"), "--name", "New"]);
        new.shows(&["New joined.", "Welcome New."]).await;
        old.shows(&["New joined."]).await;
        old.type_line("hello there").await;
        for program in [&mut old, &mut new] {
            program.shows(&["Old says: hello there"]).await;
        }
        new.type_line("hi").await;
        for program in [&mut old, &mut new] {
            program.shows(&["New says: hi"]).await;
        }
        old.type_line("Bye").await;
        let ended = old.end().await;
        assert_eq!((ended.lines, ended.success), (vec!["You left.".to_owned()], true), "{}", ended.stderr);
        new.shows(&["Old left."]).await;
    }
}

#[tokio::test]
async fn a_line_that_a_v6_server_would_lose_is_not_sent_and_the_reason_is_shown() {
    let mut server = Program::start(SERVER, &["--listen", "127.0.0.1:0", "--anonymous", "--compat", "v6"]);
    let addr = server.address().await;
    let mut client = Program::start(CLIENT, &["--url", &format!("ws://{addr}/?name=Old"), "--compat", "v6"]);
    client.shows(&["Old joined.", "Welcome Old."]).await;
    client.type_line(&"x".repeat(70_000)).await;
    client
        .shows(&["Not sent: the .NET v6 server would lose the message: it reads no message of more than 65535 bytes"])
        .await;
}

#[tokio::test]
async fn an_unknown_generation_is_an_error_of_the_command_line() {
    let server =
        Program::start(env!("CARGO_BIN_EXE_echo-server"), &["--listen", "127.0.0.1:0", "--compat", "v5"]);
    let ended = server.end().await;
    assert!(!ended.success && ended.stderr.contains("[possible values: v6, v7]"), "{}", ended.stderr);
}
