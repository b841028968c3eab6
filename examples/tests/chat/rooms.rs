//! Rooms of the chat.

use super::*;

#[tokio::test]
async fn what_is_told_in_a_room_is_heard_by_those_in_it_and_it_ends_with_the_last() {
    let chat = Chat::open().await;
    let mut ronald = chat.plain("Ronald").await;
    ronald.hears(&["Ronald joined.", "Welcome Ronald."]).await;
    let mut john = chat.plain("John").await;
    john.hears(&["John joined.", "Welcome John."]).await;
    ronald.hears(&["John joined."]).await;
    let mut adam = chat.plain("Adam").await;
    adam.hears(&["Adam joined.", "Welcome Adam."]).await;
    adam.sends(&ChatPacket::List).await;
    adam.hears(&["There are no rooms."]).await;

    let enter = |room: &str| ChatPacket::Enter { room: room.to_owned() };
    ronald.sends(&enter(" Rust ")).await;
    ronald.hears(&["Adam joined.", "Ronald entered rust."]).await;
    john.sends(&enter("rust")).await;
    john.hears(&["Adam joined.", "John entered rust."]).await;
    ronald.hears(&["John entered rust."]).await;
    adam.hears(&["Rooms: rust (Ronald).", "Rooms: rust (John, Ronald)."]).await;

    let hello = || ChatPacket::Tell { from: None, room: "RUST".to_owned(), text: "a\nb".to_owned() };
    adam.sends(&hello()).await;
    adam.hears(&["Error: you are not in that room"]).await;
    john.sends(&hello()).await;
    for device in [&mut john, &mut ronald] {
        device.hears(&["John says in rust: a b"]).await;
    }
    // A second device does not enter a second time, and leaves without a word.
    let mut phone = chat.tagged("Ronald").await;
    phone.hears(&[r#"{"type":"welcome","name":"Ronald"}"#]).await;
    phone.sends(&enter("rust")).await;
    phone.hears(&[r#"{"type":"entered","room":"rust","name":"Ronald"}"#]).await;
    phone.leaves().await;

    ronald.sends(&ChatPacket::Exit { room: "rust".to_owned() }).await;
    ronald.hears(&["Ronald left rust."]).await;
    john.hears(&["Ronald left rust."]).await;
    ronald.sends(&ChatPacket::Exit { room: "rust".to_owned() }).await;
    ronald.hears(&["Error: you are not in that room"]).await;
    john.leaves().await;
    ronald.hears(&["John left."]).await;
    let rooms = "Rooms: rust (John, Ronald).";
    adam.hears(&[rooms, rooms, "Rooms: rust (John).", "There are no rooms.", "John left."]).await;
}

#[tokio::test]
async fn a_room_is_entered_and_left_as_a_group_as_well() {
    let chat = Chat::open().await;
    let mut ronald = chat.tagged("Ronald").await;
    let mut john = chat.plain("John").await;
    ronald.client.join("rust").await.unwrap();
    john.sends(&ChatPacket::Enter { room: "rust".into() }).await;
    john.hears(&["John joined.", "Welcome John.", "John entered rust."]).await;
    ronald.sends(&ChatPacket::Tell { from: None, room: "rust".into(), text: "hi".into() }).await;
    john.hears(&["Ronald says in rust: hi"]).await;
    ronald.client.leave("rust").await.unwrap();
    john.hears(&["Ronald left rust."]).await;
    let refused = ronald.client.join("Not the name of a room").await;
    assert!(
        matches!(&refused, Err(GroupError::Refused { reason }) if reason == "not allowed here"),
        "{refused:?}"
    );

    // By a packet the device leaves the group as well.
    ronald.client.join("rust").await.unwrap();
    john.hears(&["Ronald entered rust."]).await;
    ronald.sends(&ChatPacket::Exit { room: "rust".into() }).await;
    john.hears(&["Ronald left rust."]).await;
    assert!(!chat.server.has_group("/", "rust"));
    let packets = r#"{"type":"joined","name":"Ronald"}|{"type":"welcome","name":"Ronald"}|{"type":"joined","name":"John"}|{"type":"entered","room":"rust","name":"Ronald"}"#;
    let mut heard = Vec::new();
    while heard.len() < 4 {
        heard.push(ronald.next().await);
    }
    heard.sort();
    let mut expected: Vec<_> = packets.split('|').collect();
    expected.sort_unstable();
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn rooms_have_names_and_nobody_is_in_more_than_a_few() {
    let chat = Chat::open().await;
    let mut ronald = chat.plain("Ronald").await;
    ronald.hears(&["Ronald joined.", "Welcome Ronald."]).await;
    ronald.sends(&ChatPacket::Enter { room: " \u{200b}".to_owned() }).await;
    ronald.hears(&["Error: a room needs a name"]).await;
    for room in 1..=16 {
        ronald.sends(&ChatPacket::Enter { room: room.to_string() }).await;
        ronald.hears(&[&format!("Ronald entered {room}.")]).await;
    }
    ronald.sends(&ChatPacket::Enter { room: "one more".to_owned() }).await;
    ronald.hears(&["Error: nobody can be in more than 16 rooms"]).await;
    ronald.sends(&ChatPacket::Enter { room: "16".to_owned() }).await;
    ronald.hears(&["Ronald entered 16."]).await;
}
