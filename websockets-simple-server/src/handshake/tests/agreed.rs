use super::*;

fn all(params: ServerParams) -> TestServer<Anonymous> {
    open_to_all(params)
}

#[tokio::test(start_paused = true)]
async fn the_101_is_exact() {
    let host = all(ServerParams::local());
    let (answer, opened) = admitted(&host, request("/a%20room?x=1", "").as_bytes()).await;
    assert_eq!(answer, switching(""));
    assert_eq!(opened.admitted.head.channel(), "/a room");
    assert_eq!(opened.admitted.head.query("x").unwrap(), "1");
    assert!(
        opened.leftover.is_empty()
            && opened.admitted.subprotocol.is_none()
            && opened.admitted.farewell.is_none()
    );
    assert!(opened.admitted.user.is_none() && opened.admitted.user_permit.is_none());
    assert_eq!(host.diary(), ["connecting /a room"]);
}

#[tokio::test(start_paused = true)]
async fn a_user_is_admitted_with_a_seat() {
    let host = with_users(ServerParams::local(), Mood::Knows);
    let (answer, opened) = admitted(&host, request_with_token("/room").as_bytes()).await;
    assert_eq!(answer, switching(""));
    assert_eq!(*opened.admitted.user.as_ref().unwrap().id(), 7);
    assert_eq!(host.diary(), ["connecting /room", "asked for /room"]);
    assert_eq!(host.permits_taken(&7), 1);
    assert!(!format!("{:?}", opened.admitted.head).contains(SECRET));
    drop(opened);
    assert_eq!(host.permits_taken(&7), 0);
}

#[tokio::test(start_paused = true)]
async fn the_stream_that_comes_out_is_the_one_that_went_in() {
    let host = all(ServerParams::local());
    let (mut client, server) = duplex(ROOM);
    client.write_all(request("/", "").as_bytes()).await.unwrap();
    let mut stream = shake(&host, server).await.ok().unwrap().stream;
    let mut answer = vec![0; switching("").len()];
    client.read_exact(&mut answer).await.unwrap();
    stream.write_all(b"to the client").await.unwrap();
    client.write_all(b"to the server").await.unwrap();
    let (mut there, mut here) = ([0; 13], [0; 13]);
    client.read_exact(&mut there).await.unwrap();
    stream.read_exact(&mut here).await.unwrap();
    assert_eq!((&there, &here), (b"to the client", b"to the server"));
    drop(stream);
    assert_eq!(client.read(&mut there).await.unwrap(), 0, "there is no other handle");
}

#[tokio::test(start_paused = true)]
async fn any_spelling_of_the_headers_will_do() {
    let request = format!(
        "GET / HTTP/1.1\r\nhost:localhost\r\nconnection:keep-alive, upgrade\r\nupgrade: WebSocket\r\n\
         sec-websocket-version:   13  \r\nSEC-WEBSOCKET-KEY: {KEY}\r\n\r\n"
    );
    let (answer, _) = admitted(&all(ServerParams::local()), request.as_bytes()).await;
    assert_eq!(answer, switching(""));
}

#[tokio::test(start_paused = true)]
async fn a_request_may_come_one_byte_at_a_time() {
    let host = with_users(ServerParams::local(), Mood::Knows);
    let (client, server) = duplex(1);
    let (mut reading, mut writing) = tokio::io::split(client);
    let request = request_with_token("/room");
    let mut answer = vec![0; switching("").len()];
    let (shaken, _, _) = tokio::join!(
        shake(&host, server),
        async { writing.write_all(request.as_bytes()).await.unwrap() },
        async { reading.read_exact(&mut answer).await.unwrap() },
    );
    let opened = shaken.ok().unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), switching(""));
    assert!(opened.leftover.is_empty());
    assert_eq!(host.diary(), ["connecting /room", "asked for /room"]);
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_the_request_are_not_lost() {
    for size in [1, 6, 4000, 16 * 1024, 200 * 1024] {
        let behind: Vec<u8> = (0..size).map(|n: usize| (n % 251) as u8).collect();
        let host = with_users(ServerParams::local(), Mood::Knows);
        let (mut client, server) = duplex(ROOM);
        client.write_all(request_with_token("/").as_bytes()).await.unwrap();
        client.write_all(&behind).await.unwrap();
        let mut opened = shake(&host, server).await.ok().unwrap();
        assert!(!opened.leftover.is_empty());
        drop(client);
        let mut came = opened.leftover.to_vec();
        opened.stream.read_to_end(&mut came).await.unwrap();
        assert!(came == behind, "{size} bytes came back as others");
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_come_while_the_user_service_thinks_are_not_lost() {
    let second = Duration::from_secs(1);
    let host = with_users(ServerParams::local(), Mood::Slow(second));
    let (mut client, server) = duplex(ROOM);
    let (shaken, ()) = tokio::join!(shake(&host, server), async {
        client.write_all(request_with_token("/").as_bytes()).await.unwrap();
        tokio::time::sleep(second / 2).await;
        client.write_all(b"early").await.unwrap();
    });
    drop(client);
    let mut opened = shaken.ok().unwrap();
    let mut came = opened.leftover.to_vec();
    opened.stream.read_to_end(&mut came).await.unwrap();
    assert_eq!(came, b"early");
}

/// The chosen subprotocol, and whether the response says the same.
async fn chosen(ours: &[&str], offered: &str) -> Option<String> {
    let params = ServerParams::local().subprotocols(ours.iter().copied());
    let host = all(params.clone());
    let offers = offered.lines().map(|line| format!("Sec-WebSocket-Protocol: {line}\r\n"));
    let (answer, opened) = admitted(&host, request("/", &offers.collect::<String>()).as_bytes()).await;
    let chosen = opened.admitted.subprotocol.map(|number| params.subprotocol(number).to_owned());
    let line = chosen.as_ref().map(|chosen| format!("Sec-Websocket-Protocol: {chosen}\r\n"));
    assert_eq!(answer, switching(&line.unwrap_or_default()));
    chosen
}

#[tokio::test(start_paused = true)]
async fn the_subprotocol_is_the_first_of_ours_among_those_offered() {
    assert_eq!(chosen(&["one", "two"], "two, one").await.unwrap(), "one");
    assert_eq!(chosen(&["one", "two"], "three,two").await.unwrap(), "two");
    assert_eq!(chosen(&["one", "two"], "three\ntwo").await.unwrap(), "two", "offers may take two lines");
    assert_eq!(chosen(&["one", "two"], "").await, None);
}

#[tokio::test(start_paused = true)]
async fn the_marker_is_always_understood_and_always_last() {
    assert_eq!(chosen(&[], "websockets-simple").await.unwrap(), "websockets-simple");
    assert_eq!(chosen(&["one"], "websockets-simple, one").await.unwrap(), "one");
    assert_eq!(chosen(&["one"], "two, websockets-simple").await.unwrap(), "websockets-simple");
}

/// What the server chooses as it was offered, the name that is agreed on, and whether control messages are.
async fn composite(params: ServerParams, offered: &str) -> (String, String, bool) {
    let host = all(params.clone());
    let offers = format!("Sec-WebSocket-Protocol: {offered}\r\n");
    let (answer, opened) = admitted(&host, request("/", &offers).as_bytes()).await;
    let chosen = answer.split("Sec-Websocket-Protocol: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let number = opened.admitted.subprotocol.unwrap();
    (chosen, params.subprotocol(number).to_owned(), opened.admitted.controls)
}

#[tokio::test(start_paused = true)]
async fn a_subprotocol_with_control_messages_is_preferred_to_the_same_one_without() {
    let params = ServerParams::local().subprotocols(["one", "two"]);
    for (offered, chosen, name, controls) in [
        ("one, websockets-simple+one", "websockets-simple+one", "one", true),
        ("websockets-simple+two, two", "websockets-simple+two", "two", true),
        ("websockets-simple+two, two, one", "one", "one", false),
        ("websockets-simple+three, two", "two", "two", false),
        ("websockets-simple+, two", "two", "two", false),
        ("websockets-simple+two, websockets-simple", "websockets-simple+two", "two", true),
        ("websockets-simple, three", "websockets-simple", "websockets-simple", true),
    ] {
        let agreed = composite(params.clone(), offered).await;
        assert_eq!(agreed, (chosen.to_owned(), name.to_owned(), controls), "{offered}");
    }
    let v6 = params.compatibility(websockets_simple_core::Compatibility::DotNetV6);
    let agreed = composite(v6, "websockets-simple+ONE, ONE").await;
    assert_eq!(agreed, ("websockets-simple+ONE".to_owned(), "one".to_owned(), true), "case is theirs");
}

#[tokio::test(start_paused = true)]
async fn what_carries_a_token_is_never_chosen_even_if_a_server_lists_it() {
    let bearer = format!("bearer.{ENCODED}");
    let params = ServerParams::local().subprotocols([bearer.as_str(), "chat"]);
    let host = with_users(params.clone(), Mood::Knows);
    let offer = format!("Sec-WebSocket-Protocol: {bearer}, chat\r\n");
    let (answer, opened) = admitted(&host, request("/room", &offer).as_bytes()).await;
    assert_eq!(answer, switching("Sec-Websocket-Protocol: chat\r\n"));
    assert_eq!(opened.admitted.subprotocol.map(|number| params.subprotocol(number)), Some("chat"));
    assert_eq!(*opened.admitted.user.unwrap().id(), 7);
    assert!(!format!("{:?}", opened.admitted.head).contains(ENCODED));

    let (answer, opened) = admitted(
        &with_users(params.clone(), Mood::Knows),
        request("/", &format!("Sec-WebSocket-Protocol: {bearer}\r\n")).as_bytes(),
    )
    .await;
    assert_eq!(answer, switching(""), "nothing is left to choose from");
    assert_eq!(opened.admitted.subprotocol, None);

    let (answer, _) = admitted(&all(params), request("/", &offer).as_bytes()).await;
    assert_eq!(answer, switching("Sec-Websocket-Protocol: chat\r\n"));
}
