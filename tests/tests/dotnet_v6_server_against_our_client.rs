//! What a deployed v6 server needs of our client, shown by a server that makes its mistakes.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use websockets_simple_client::{
    ClientConnection, ClientEvent, ClientParams, Compatibility, ConnectError, ConnectionEventKind,
    DefaultPacket, EndedBy, Events, Message, WebsocketClient,
};
use websockets_simple_tests::{
    connected,
    dotnet_v6_server::{DISCONNECT, DotNetV6Server, Manner, text_frame},
    message, text, within,
};

fn params(server: &DotNetV6Server) -> ClientParams {
    websockets_simple_tests::params(server.addr).token("good").compatibility(Compatibility::DotNetV6)
}

async fn conversation(manner: Manner) -> (DotNetV6Server, WebsocketClient, Events<ClientEvent>) {
    let server = DotNetV6Server::serve(manner).await;
    let client = WebsocketClient::new(params(&server)).unwrap();
    let mut heard = client.events();
    client.connect().await.unwrap();
    assert_eq!(text(&mut heard).await, "Connected Successfully");
    (server, client, heard)
}

/// What the server took for messages, once it is done.
async fn taken(mut server: DotNetV6Server) -> Vec<String> {
    let mut messages = Vec::new();
    while let Some(message) = within(server.heard.recv()).await {
        messages.push(message);
    }
    messages
}

#[tokio::test]
async fn a_burst_reaches_a_server_that_takes_one_read_for_one_frame() {
    let expected: Vec<_> = (0..30).map(|n| n.to_string()).collect();
    // On a busy machine it may read too late; what shares a write is lost each time.
    let mut messages = Vec::new();
    for _ in 0..5 {
        let (server, client, mut heard) = conversation(Manner::default()).await;
        // Its ping, in the middle of the burst, must not share a write either.
        server.say.send([text_frame("Ping"), text_frame("go")].concat()).unwrap();
        assert_eq!(text(&mut heard).await, "go");
        for n in &expected {
            client.send(Message::text(n.as_str())).await.unwrap();
        }
        assert!(within(client.disconnect()).await.unwrap().clean);
        messages = taken(server).await;
        if messages.len() == expected.len() + 1 {
            break;
        }
    }
    assert_eq!(messages.iter().filter(|message| *message == "pong").count(), 1, "{messages:?}");
    messages.retain(|message| message != "pong");
    assert_eq!(messages, expected);
}

#[tokio::test]
async fn what_a_handler_sends_leaves_frame_by_frame_too() {
    let mut messages = Vec::new();
    for _ in 0..5 {
        let (server, client, _heard) = conversation(Manner::default()).await;
        let (answered, mut done) = tokio::sync::mpsc::unbounded_channel();
        client.on(move |event: ClientEvent| {
            let answered = answered.clone();
            async move {
                if let ClientEvent::Message(event) = event {
                    for n in 0..5 {
                        event.connection.send(Message::text(n.to_string())).await.unwrap();
                    }
                    answered.send(()).unwrap();
                }
            }
        });
        server.say.send(text_frame("go")).unwrap();
        within(done.recv()).await.unwrap();
        within(client.disconnect()).await;
        messages = taken(server).await;
        if messages.len() == 5 {
            break;
        }
    }
    assert_eq!(messages, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_packet_reaches_it_as_the_json_it_reads() {
    let (server, client, _heard) = conversation(Manner::default()).await;
    let json = r#"{"Data":"héllo","Timestamp":"2022-03-05T19:42:01.6305503Z"}"#;
    let packet = Message::text(json).try_packet::<DefaultPacket>().unwrap();
    client.send(&packet).await.unwrap();
    within(client.disconnect()).await;
    assert_eq!(taken(server).await, [json]);
}

#[tokio::test]
async fn the_token_arrives_encoded_as_its_own_client_encodes_it() {
    let server = DotNetV6Server::serve(Manner::default()).await;
    let client = connected(params(&server).token("a b/c?d=é")).await;
    within(client.disconnect()).await;
    let token = within(server.outcome).await.unwrap().token;
    assert_eq!(token, "a%20b/c?d=%C3%A9");
}

#[tokio::test]
async fn texts_that_it_cut_still_arrive() {
    let (server, _client, mut heard) = conversation(Manner::default()).await;
    for (said, arrives) in [("日本", "\u{FFFD}"), ("héllo", "héll"), ("plain", "plain")] {
        server.say.send(text_frame(said)).unwrap();
        assert_eq!(text(&mut heard).await, arrives);
    }
    // A packet is cut as well, and then is none.
    server.say.send(text_frame(r#"{"Data":"é"}"#)).unwrap();
    let packet = message(&mut heard).await.packet::<DefaultPacket>().unwrap();
    assert_eq!(packet.data, r#"{"Data":"é""#);
}

#[tokio::test]
async fn a_subprotocol_is_agreed_on_whether_the_server_says_so_or_not() {
    for (plain, agreed) in [(false, Some("p1")), (true, None)] {
        let manner = Manner { plain, subprotocols: &["p1", "p2"], ..Manner::default() };
        let server = DotNetV6Server::serve(manner).await;
        let client = connected(params(&server).subprotocol("p1").subprotocol("p2")).await;
        assert_eq!(client.connection().unwrap().subprotocol(), agreed);
        within(client.disconnect()).await;
        assert!(within(server.outcome).await.unwrap().let_go);
    }
}

#[tokio::test]
async fn one_subprotocol_it_does_not_have_is_enough_to_be_rejected() {
    let manner = Manner { subprotocols: &["p1"], ..Manner::default() };
    let server = DotNetV6Server::serve(manner).await;
    let client = WebsocketClient::new(params(&server).subprotocol("p1").subprotocol("p2")).unwrap();
    let refused = client.connect().await;
    assert!(matches!(refused, Err(ConnectError::SubprotocolRejected)), "{refused:?}");
    assert!(!client.is_running());
}

#[tokio::test]
async fn a_token_it_does_not_know_is_told_of_once() {
    let server = DotNetV6Server::serve(Manner::default()).await;
    let client = WebsocketClient::new(params(&server).token("bad")).unwrap();
    let mut heard = client.events();
    match client.connect().await {
        Err(ConnectError::Unauthorized { message, .. }) => assert_eq!(message, "Disconnect"),
        other => panic!("{other:?}"),
    }
    // The server waits until the client hangs up.
    within(server.outcome).await.unwrap();
    drop(client);
    let mut refused = 0;
    while let Some(event) = within(heard.recv()).await {
        match event {
            ClientEvent::Connection(event) => match event.kind {
                ConnectionEventKind::Connecting(_) => {}
                ConnectionEventKind::Refused(..) => refused += 1,
                other => panic!("{other:?}"),
            },
            ClientEvent::Message(event) => panic!("{:?}", event.message),
            _ => {}
        }
    }
    assert_eq!(refused, 1);
}

async fn end(heard: &mut Events<ClientEvent>) -> (ClientConnection, websockets_simple_client::Disconnect) {
    within(async {
        loop {
            if let ClientEvent::Connection(event) = heard.recv().await.expect("the client lives")
                && let ConnectionEventKind::Disconnected(connection, end) = event.kind
            {
                return (connection, end);
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_close_of_the_servers_gets_the_answer_that_it_waits_for() {
    let (server, client, mut heard) = conversation(Manner::default()).await;
    server.say.send(text_frame("No ping response - disconnected.")).unwrap();
    server.say.send(DISCONNECT.to_vec()).unwrap();
    assert_eq!(text(&mut heard).await, "No ping response - disconnected.");
    let (_, end) = end(&mut heard).await;
    assert_eq!((end.code, end.reason.as_str(), end.by), (Some(1000), "Disconnect", EndedBy::Peer));
    assert!(end.clean);
    assert!(within(server.outcome).await.unwrap().let_go);
    assert!(!client.is_running());
}

#[tokio::test]
async fn a_server_that_is_cut_off_ends_the_connection() {
    let (server, client, mut heard) = conversation(Manner::default()).await;
    server.outcome.abort();
    let (connection, end) = end(&mut heard).await;
    assert!(!end.clean && !connection.is_open() && !client.is_running(), "{end:?}");
}
