use super::*;

async fn no_request(host: &TestServer<Anonymous>, server: DuplexStream) {
    assert!(matches!(shake(host, server).await, Err(Ended::NoRequest)));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_or_drips_is_left_to_the_deadline_of_the_caller() {
    let host = open_to_all(ServerParams::local());
    for head in [String::new(), request("/", "")] {
        let (mut client, server) = duplex(ROOM);
        let (shaken, ()) =
            tokio::join!(tokio::time::timeout(Duration::from_secs(60), shake(&host, server)), async {
                for byte in head.bytes() {
                    if client.write_all(&[byte]).await.is_err() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "it is hung up on without an answer");
            });
        assert!(shaken.is_err(), "nothing else ends it");
    }
    assert!(host.diary().is_empty(), "nothing was attempted and nothing failed yet");
}

#[tokio::test]
async fn a_silent_peer_is_one_failure_of_a_server() {
    let limits = Limits::default().handshake(Duration::from_millis(50));
    let server = WebsocketServer::new(ServerParams::local().limits(limits));
    let diary = Diary::default();
    let noted = Arc::clone(&diary);
    server.on(move |event| {
        match event {
            Event::Error(event) => note(&noted, event.error.to_string()),
            Event::Connection(event) => note(&noted, format!("{:?}", event.kind)),
            _ => {}
        }
        std::future::ready(())
    });
    server.start().await.unwrap();
    let mut peer = tokio::net::TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
    assert_eq!(peer.read(&mut [0; 1]).await.unwrap(), 0);
    server.stop().await;
    assert_eq!(*diary.lock().unwrap(), ["the handshake took too long"]);
}

#[tokio::test]
async fn a_refusal_reaches_also_those_behind_a_handler_that_outlasts_the_handshake() {
    let limits = Limits::default().handshake(Duration::from_millis(50));
    let server = WebsocketServer::new(ServerParams::local().limits(limits));
    server.on(|event| async move {
        if let Event::Connection(event) = event
            && let ConnectionEventKind::Refused(..) = event.kind
        {
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    });
    let diary = Diary::default();
    let told = Arc::clone(&diary);
    server.on(move |event| {
        if let Event::Connection(event) = event {
            note(&told, format!("{:?}", event.kind));
        }
        std::future::ready(())
    });
    server.start().await.unwrap();
    let mut peer = tokio::net::TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
    peer.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    peer.shutdown().await.unwrap();
    peer.read_to_end(&mut Vec::new()).await.unwrap();
    server.stop().await;
    let told = diary.lock().unwrap();
    assert_eq!(told.iter().filter(|told| told.starts_with("Refused")).count(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_and_goes_is_no_failure() {
    let host = open_to_all(ServerParams::local());
    let (client, server) = duplex(ROOM);
    drop(client);
    no_request(&host, server).await;
    assert!(host.diary().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_up_halfway_is_a_failure_and_no_attempt() {
    for part in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\nUpgr"] {
        let host = open_to_all(ServerParams::local());
        let (mut client, server) = duplex(ROOM);
        client.write_all(part.as_bytes()).await.unwrap();
        drop(client);
        let begun = Instant::now();
        let Err(Ended::Failed(failed)) = shake(&host, server).await else { panic!("it hung up") };
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert!(failed.starts_with("Handshake: "), "{failed}");
        assert!(host.diary().is_empty(), "nothing was attempted");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_up_while_the_service_thinks_is_one_refused_attempt() {
    let host = with_users(ServerParams::local(), Mood::Silent);
    let (mut client, server) = duplex(ROOM);
    let begun = Instant::now();
    let (shaken, ()) = tokio::join!(shake(&host, server), async {
        client.write_all(request_with_token("/room").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(client);
    });
    assert_eq!(begun.elapsed(), Duration::from_secs(1), "the authentication deadline is not awaited");
    let Err(Ended::Refused(attempt, why)) = shaken else {
        panic!("Connecting was raised, so Refused must be")
    };
    assert_eq!((&*attempt.path, why.as_str()), ("/room", "the peer disconnected before the response"));
    assert_eq!(host.diary(), ["connecting /room", "asked for /room", "given up"]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_take_its_101_gives_the_seat_back() {
    let host = with_users(ServerParams::local(), Mood::Slow(Duration::from_secs(1)));
    // The response does not fit, and the client does not read.
    let (mut client, server) = duplex(64);
    let request = request_with_token("/room");
    let (shaken, ()) = tokio::join!(shake(&host, server), async {
        client.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(host.permits_taken(&7), 1);
        drop(client);
    });
    let Err(Ended::Refused(attempt, why)) = shaken else { panic!("the client is gone") };
    assert_eq!((&*attempt.path, why.as_str()), ("/room", "the peer disconnected before the response"));
    assert_eq!(host.permits_taken(&7), 0);
}

#[tokio::test(start_paused = true)]
async fn the_answer_and_its_end_come_before_the_wait_for_what_is_still_sent() {
    let plain = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned();
    for (request, status) in [(plain, "426"), (request("/%ff", ""), "400"), ("\r\n?\r\n".to_owned(), "400")] {
        let host = open_to_all(ServerParams::local());
        let (mut client, server) = duplex(ROOM);
        client.write_all(request.as_bytes()).await.unwrap();
        let begun = Instant::now();
        let (shaken, client) = tokio::join!(shake(&host, server), async move {
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert_eq!(begun.elapsed(), Duration::ZERO, "{answer}");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            client
        });
        assert!(shaken.is_err());
        assert_eq!(begun.elapsed(), Duration::from_secs(1), "a client that does not close is waited for");
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_never_stops_sending_is_not_read_for_ever() {
    let host = open_to_all(ServerParams::local());
    let (mut client, server) = duplex(4096);
    let (shaken, sent) = tokio::join!(shake(&host, server), async move {
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut sent = 0;
        while client.write_all(&[b'x'; 1024]).await.is_ok() {
            sent += 1024;
        }
        sent
    });
    assert!(matches!(shaken, Err(Ended::Refused(..))));
    assert!((128 * 1024..512 * 1024).contains(&sent), "{sent}");
}
