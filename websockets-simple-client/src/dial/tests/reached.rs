//! Which address is connected to, and with which socket options.

use super::{
    tcp::{STAGGER, SocketOptions, connect_to, connect_to_first, interleaved},
    *,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("this takes too long")
}

async fn address() -> (TcpListener, SocketAddr) {
    let (listener, _) = listener().await;
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn an_address_that_refuses_does_not_keep_from_the_next_one() {
    let (_, dead) = address().await;
    let (_listener, alive) = address().await;
    let stream = within(connect_to_first(vec![dead, alive], SocketOptions::default())).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), alive);
    let error = within(connect_to_first(vec![dead, dead], SocketOptions::default())).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn families_alternate_from_that_of_the_first_address_and_keep_their_order() {
    let tried = |addresses: &str| -> String {
        let parse = |c: char| match c {
            'a'..='z' => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, c as u16], 1)),
            _ => SocketAddr::from(([127, 0, 0, c as u8], 1)),
        };
        let show = |address: SocketAddr| match address.ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3] as char,
            std::net::IpAddr::V6(ip) => ip.octets()[15] as char,
        };
        interleaved(addresses.chars().map(parse).collect()).map(show).collect()
    };
    for (resolved, expected) in [
        ("", ""),
        ("a", "a"),
        ("12", "12"),
        ("abc123", "a1b2c3"),
        ("123abc", "1a2b3c"),
        ("abcd1", "a1bcd"),
        ("1abcd", "1abcd"),
        ("ab12c345", "a1b2c345"),
    ] {
        assert_eq!(tried(resolved), expected, "{resolved}");
    }
}

#[tokio::test]
async fn silent_addresses_of_one_family_cost_the_other_one_delay_however_many_they_are() {
    let (silent, _filling) = silent("[::1]:0").await;
    let (_listener, alive) = address().await;
    let begun = Instant::now();
    let stream =
        within(connect_to_first(vec![silent, silent, silent, silent, alive], SocketOptions::default())).await;
    assert_eq!(stream.unwrap().peer_addr().unwrap(), alive);
    let took = begun.elapsed();
    assert!((STAGGER..3 * STAGGER).contains(&took), "{took:?}");
}

/// An address of a listener whose queue is full, so that the system ignores further attempts.
async fn silent(at: &str) -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
    let at: SocketAddr = at.parse().unwrap();
    let socket = if at.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() };
    let socket = socket.unwrap();
    socket.bind(at).unwrap();
    let full = socket.listen(1).unwrap();
    let silent = full.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(silent)).await
    {
        filling.push(stream.unwrap());
        assert!(filling.len() < 100, "the queue never fills");
    }
    (silent, (full, filling))
}

#[tokio::test]
async fn an_address_that_stays_silent_does_not_keep_from_the_next_one() {
    let (silent, _filling) = silent("127.0.0.1:0").await;
    let (_listener, alive) = address().await;
    let begun = Instant::now();
    let stream = within(connect_to_first(vec![silent, alive], SocketOptions::default())).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), alive);
    assert!(begun.elapsed() >= STAGGER);
}

#[tokio::test]
async fn buffer_sizes_reach_the_socket_and_small_writes_are_not_held_back() {
    let (_listener, address) = address().await;
    let chosen =
        SocketOptions { receive_buffer: Some(20_000), send_buffer: Some(30_000), ..SocketOptions::default() };
    let given = within(connect_to(address, chosen)).await.unwrap();
    assert!(given.nodelay().unwrap());
    let usual = within(connect_to(address, SocketOptions::default())).await.unwrap();
    let sizes = |stream: TcpStream| {
        let socket = tokio::net::TcpSocket::from_std_stream(stream.into_std().unwrap());
        (socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap())
    };
    let (given, usual) = (sizes(given), sizes(usual));
    // Systems round these sizes; Linux doubles them.
    assert!(given.0 >= 20_000 && given.0 < usual.0, "{given:?} {usual:?}");
    assert!(given.1 >= 30_000 && given.1 < usual.1, "{given:?} {usual:?}");
}

#[tokio::test]
async fn a_dial_that_is_dropped_closes_its_socket() {
    let (listener, params) = listener().await;
    let dialing = tokio::spawn(dial(params));
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    within(read_head(&mut stream)).await;
    dialing.abort();
    assert_eq!(within(stream.read(&mut [0; 1])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_port_nobody_listens_on_cannot_be_connected_to() {
    let (listener, params) = listener().await;
    drop(listener);
    let refused = dial(params).await.err().unwrap();
    let ConnectError::Connect(source) = &refused else { panic!("{refused:?}") };
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(refused.to_string(), "cannot connect");
}

#[tokio::test]
async fn a_name_that_does_not_exist_cannot_be_resolved() {
    // Every resolver refuses a label of more than 63 bytes without a query.
    let nowhere = ClientParams::new(format!("{}.invalid", "a".repeat(64)), 80);
    let unknown = dial(nowhere).await.err().unwrap();
    assert!(matches!(unknown, ConnectError::Resolve(_)), "{unknown:?}");
}

#[tokio::test]
async fn a_name_with_several_addresses_is_tried_until_one_answers() {
    let (listener, address) = address().await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        stream.write_all(switching(&accept_key(&head), "").as_bytes()).await.unwrap();
        head
    };
    let (head, dialed) = tokio::join!(server, dial(ClientParams::new("localhost", address.port())));
    assert_eq!(value(&head, "Host").unwrap(), format!("localhost:{}", address.port()));
    assert_eq!(dialed.ok().unwrap().info.peer_addr, Some(address));
}

#[tokio::test]
async fn an_ipv6_address_with_a_zone_is_connected_to() {
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for params in
        [ClientParams::new("::1%1", port), ClientParams::url(&format!("ws://[::1%251]:{port}")).unwrap()]
    {
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_head(&mut stream).await;
            stream.write_all(switching(&accept_key(&head), "").as_bytes()).await.unwrap();
            head
        };
        let (head, dialed) = within(async { tokio::join!(server, dial(params)) }).await;
        assert!(dialed.is_ok(), "{:?}", dialed.err());
        assert_eq!(value(&head, "Host").unwrap(), format!("[::1]:{port}"));
    }
}

/// Where names of interfaces are those of this system.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_zone_may_be_the_name_of_an_interface() {
    let params = ClientParams::new("fe80::1%lo", 80).check().unwrap();
    let mut addresses = tokio::net::lookup_host((params.host.name.as_str(), 80)).await.unwrap();
    let Some(SocketAddr::V6(address)) = addresses.next() else { panic!("it is an IPv6 address") };
    assert_ne!(address.scope_id(), 0);
    let nowhere = dial(ClientParams::new("fe80::1%no-such-interface", 80)).await.err().unwrap();
    assert!(matches!(nowhere, ConnectError::Resolve(_)), "{nowhere:?}");
}

/// Dials, and serves the one connection that comes.
async fn dial_to(listener: &TcpListener, params: ClientParams) -> (SocketAddr, String, ConnectionInfo) {
    let server = async {
        let (mut stream, from) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        stream.write_all(switching(&accept_key(&head), "").as_bytes()).await.unwrap();
        (from, value(&head, "Host").unwrap().to_owned())
    };
    let ((from, host), dialed) = within(async { tokio::join!(server, dial(params)) }).await;
    (from, host, dialed.map_err(|error| format!("{error:?}")).ok().unwrap().info)
}

#[tokio::test]
async fn a_resolver_gives_the_addresses_of_names_and_is_not_asked_for_addresses() {
    let (listener, address) = address().await;
    let (_, dead) = self::address().await;
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = std::sync::Arc::clone(&asked);
    let resolver = move |host: String, port: u16| {
        noted.lock().unwrap().push((host, port));
        async move { Ok(vec![dead, SocketAddr::new(address.ip(), 0)]) }
    };
    let params = ClientParams::new("Chat.INVALID", address.port()).resolver(resolver);
    let (_, host, info) = dial_to(&listener, params.clone()).await;
    assert_eq!((host, info.peer_addr), (format!("chat.invalid:{}", address.port()), Some(address)));
    assert_eq!(*asked.lock().unwrap(), [("chat.invalid".to_owned(), address.port())]);
    for host in ["127.0.0.1", "::ffff:127.0.0.1"] {
        let asked = async |_: String, _: u16| panic!("asked");
        dial_to(&listener, ClientParams::new(host, address.port()).resolver(asked)).await;
    }
    // What is given goes first.
    let given = params.resolve("chat.invalid", [dead]).resolve("CHAT.invalid", [address]);
    let (_, _, info) = dial_to(&listener, given).await;
    assert_eq!((info.peer_addr, asked.lock().unwrap().len()), (Some(address), 1));
}

#[tokio::test]
async fn a_resolver_that_fails_or_knows_nothing_is_a_name_that_cannot_be_resolved() {
    let unknown = ClientParams::new("chat.invalid", 80);
    for (params, why) in [
        (unknown.clone().resolver(async |_: String, _: u16| Ok(Vec::new())), "the host has no address"),
        (unknown.clone().resolver(async |_: String, _: u16| Err(io::Error::other("no idea"))), "no idea"),
    ] {
        let error = dial(params).await.err().unwrap();
        let ConnectError::Resolve(source) = &error else { panic!("{error:?}") };
        assert_eq!(source.to_string(), why);
    }
    let panics = async |_: String, _: u16| -> io::Result<Vec<SocketAddr>> { panic!("{SECRET}") };
    let error = dial(unknown.resolver(panics)).await.err().unwrap();
    assert!(matches!(error, ConnectError::Connect(_)), "{error:?}");
}

/// Where all of 127.0.0.0/8 is there.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_connects_from_the_address_that_it_is_given() {
    let (listener, address) = address().await;
    let local = std::net::IpAddr::from([127, 0, 0, 9]);
    let dead = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], address.port()));
    let params = ClientParams::new("chat.invalid", address.port()).resolve("chat.invalid", [dead, address]);
    let (from, _, info) = dial_to(&listener, params.local_addr(local)).await;
    assert_eq!((from.ip(), info.local_addr), (local, Some(from)));
}

#[tokio::test]
async fn a_local_address_of_another_family_than_all_of_the_server_is_an_error_that_says_so() {
    let params = ClientParams::new("127.0.0.1", 80).local_addr(std::net::Ipv6Addr::LOCALHOST.into());
    let error = dial(params).await.err().unwrap();
    let ConnectError::Connect(source) = &error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "the host has no address of the family of the local address");
    // An address of another machine (RFC 5737).
    let params = ClientParams::new("127.0.0.1", 80).local_addr([192, 0, 2, 1].into());
    let error = dial(params).await.err().unwrap();
    assert!(matches!(error, ConnectError::Connect(_)), "{error:?}");
}
