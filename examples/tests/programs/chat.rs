//! The chat server and its terminal client.

use tokio::process::Command;

use crate::program::{Program, asked};

pub(crate) const SERVER: &str = env!("CARGO_BIN_EXE_chat-server");
pub(crate) const CLIENT: &str = env!("CARGO_BIN_EXE_chat-client");

/// The arguments of the printed invites, by name.
pub(crate) async fn invites(server: &mut Program) -> Vec<(String, Vec<String>)> {
    assert_eq!(server.line().await, "Invites, which are shown this once:");
    let mut invites = Vec::new();
    for _ in 0..3 {
        let name = server.line().await.trim().to_owned();
        let command = server.line().await;
        let args = command.trim().strip_prefix("cargo run --release --bin chat-client -- ").unwrap();
        invites.push((name, args.split(' ').map(str::to_owned).collect()));
    }
    assert!(server.line().await.starts_with("In a browser: http://127.0.0.1:"));
    server.shows(&["Ctrl-C stops the server."]).await;
    invites
}

fn client(args: &[String]) -> Program {
    Program::start(CLIENT, &args.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test]
async fn two_invited_clients_talk_over_pipes() {
    let mut server = Program::start(SERVER, &["--listen", "127.0.0.1:0", "--store", ":memory:"]);
    server.address().await;
    let invites = invites(&mut server).await;
    assert_eq!(invites.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["Ronald", "John", "Adam"]);

    let mut ronald = client(&invites[0].1);
    ronald.shows(&["Ronald joined.", "Welcome Ronald."]).await;
    let mut john = client(&invites[1].1);
    john.shows(&["John joined.", "Welcome John."]).await;
    ronald.shows(&["John joined."]).await;

    ronald.type_line("Hello John").await;
    ronald.shows(&["Ronald says: Hello John"]).await;
    john.shows(&["Ronald says: Hello John"]).await;
    john.type_line("/msg Ronald only for you").await;
    john.shows(&["John says to Ronald: only for you"]).await;
    ronald.shows(&["John says to Ronald: only for you"]).await;
    john.type_line("/who").await;
    john.shows(&["Online: John, Ronald."]).await;
    john.type_line("/msg Ronald").await;
    john.shows(&["Write: /msg USER TEXT"]).await;

    ronald.type_line("Bye").await;
    let ronald = ronald.end().await;
    assert_eq!((ronald.lines, ronald.success), (vec!["You left.".to_owned()], true));
    john.shows(&["Ronald left."]).await;
    // The end of the input is as good as Bye.
    let john = john.end().await;
    assert_eq!((john.lines, john.success), (vec!["You left.".to_owned()], true));
}

#[tokio::test]
async fn whoever_leaves_at_once_still_sees_what_was_due() {
    let mut server = Program::start(SERVER, &["--listen", "127.0.0.1:0", "--anonymous"]);
    let url = format!("ws://{}", server.address().await);
    let mut ronald = Program::start(CLIENT, &["--url", &url, "--name", "Ronald"]);
    ronald.type_line("one").await;
    ronald.type_line("/who").await;
    ronald.type_line("Bye").await;
    ronald.type_line("not heard any more").await;
    let ended = ronald.end().await;
    let lines = ["Ronald joined.", "Welcome Ronald.", "Ronald says: one", "Online: Ronald.", "You left."];
    assert_eq!((ended.lines, ended.success), (lines.map(str::to_owned).to_vec(), true));
}

#[tokio::test]
async fn the_token_may_come_from_the_environment_and_its_absence_is_a_clear_error() {
    let mut server = Program::start(SERVER, &["--listen", "127.0.0.1:0", "--store", ":memory:"]);
    let url = format!("ws://{}", server.address().await);
    let invites = invites(&mut server).await;
    let token = invites[2].1.iter().find_map(|arg| arg.strip_prefix("--token=")).unwrap();

    let mut adam = Program::spawn(Command::new(CLIENT).args(["--url", &url]).env("CHAT_TOKEN", token));
    adam.shows(&["Adam joined.", "Welcome Adam."]).await;

    for args in [vec!["--url", &url], vec!["--url", &url, "--token", "guessed"]] {
        let refused = Program::start(CLIENT, &args).end().await;
        assert!(!refused.success);
        assert_eq!(refused.lines, [""; 0]);
        assert_eq!(refused.stderr, "chat-client: not authorized: Unauthorized\n");
    }
}

#[tokio::test]
async fn a_client_says_clearly_what_is_wrong_with_its_url() {
    for (url, complaint) in [
        ("ws://127.0.0.1:1", "chat-client: cannot connect: "),
        ("ftp://127.0.0.1:1", "chat-client: the URL is not usable: "),
    ] {
        let ended = Program::start(CLIENT, &["--url", url]).end().await;
        assert!(!ended.success);
        assert!(ended.stderr.starts_with(complaint), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_server_that_cannot_listen_says_so() {
    let mut first = Program::start(SERVER, &["--listen", "127.0.0.1:0", "--store", ":memory:"]);
    let addr = first.address().await;
    let second = Program::start(SERVER, &["--listen", &addr, "--store", ":memory:"]).end().await;
    assert!(!second.success);
    assert!(second.stderr.contains(&format!("chat-server: cannot listen on {addr}: ")), "{}", second.stderr);
}

#[tokio::test]
async fn the_server_gives_browsers_a_page_and_tickets_that_are_good_once() {
    let mut server = Program::start(SERVER, &["--listen", "127.0.0.1:0", "--store", ":memory:"]);
    let address = server.address().await;
    let invites = invites(&mut server).await;
    let token = invites[0].1.iter().find_map(|arg| arg.strip_prefix("--token=")).unwrap();
    let page = asked(&address, "GET / HTTP/1.1").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.ends_with("</html>\n"), "{page}");
    assert!(page.contains("Content-Security-Policy: default-src 'none'; "), "{page}");
    let refused = asked(&address, "POST /ticket HTTP/1.1\r\nAuthorization: Bearer guessed").await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    let answer = asked(&address, &format!("POST /ticket HTTP/1.1\r\nAuthorization: Bearer {token}")).await;
    let ticket = answer.split("\r\n\r\n").nth(1).unwrap();

    let url = format!("ws://{address}");
    let args = ["--url", &url, &format!("--token={ticket}")];
    let mut ronald = Program::start(CLIENT, &args);
    ronald.shows(&["Ronald joined.", "Welcome Ronald."]).await;
    let again = Program::start(CLIENT, &args).end().await;
    assert_eq!(again.stderr, "chat-client: not authorized: Unauthorized\n");
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_stops_the_server_and_everybody_is_told_and_comes_back() {
    let mut server = Program::start(SERVER, &["--listen", "127.0.0.1:0", "--anonymous"]);
    let address = server.address().await;
    let url = format!("ws://{address}");
    let mut ronald = Program::start(CLIENT, &["--url", &url, "--name", "Ronald"]);
    ronald.shows(&["Ronald joined.", "Welcome Ronald."]).await;
    ronald.type_line("/join rust").await;
    ronald.shows(&["Ronald entered rust."]).await;
    server.interrupt();
    let lost = ronald.line().await;
    let said = "Lost: the connection ended by the peer with 1001 (the server stops); again in ";
    assert!(lost.starts_with(said), "{lost}");
    let server = server.end().await;
    assert!(server.success);
    let last = server.lines.last().map(String::as_str);
    assert_eq!(last, Some("stopped: 1 ended in order, 0 without a goodbye, 0 at the deadline"));

    // The client comes back, and into its room.
    let mut server = Program::start(SERVER, &["--listen", &address, "--anonymous"]);
    server.address().await;
    loop {
        // There may have been attempts in between.
        let line = ronald.line().await;
        if line == "Connected again." {
            break;
        }
        assert!(line.starts_with("Not back yet: cannot connect: "), "{line}");
    }
    ronald.shows(&["Ronald joined.", "Welcome Ronald.", "Ronald entered rust."]).await;
    ronald.type_line("/tell rust back again").await;
    ronald.shows(&["Ronald says in rust: back again"]).await;
    ronald.type_line("/leave rust").await;
    ronald.shows(&["Ronald left rust."]).await;
    ronald.type_line("/rooms").await;
    ronald.shows(&["There are no rooms."]).await;
    server.kill().await;
    assert!(ronald.line().await.starts_with("Lost: "));
    ronald.type_line("Bye").await;
    let ronald = ronald.end().await;
    assert_eq!((ronald.lines.last().map(String::as_str), ronald.success), (Some("You left."), true));
}

#[tokio::test]
async fn a_token_is_issued_and_revoked_beside_the_running_server_and_invites_are_shown_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("chat.sqlite");
    let store = store.to_str().unwrap();
    let start = || Program::start(SERVER, &["--listen", "127.0.0.1:0", "--store", store]);
    let mut server = start();
    server.address().await;
    invites(&mut server).await;
    drop(server);

    let mut server = start();
    let url = format!("ws://{}", server.address().await);
    server.shows(&["Invited users can connect. To invite another user:"]).await;
    let issued = Program::start(SERVER, &["tokens", "issue", "Eve", "--store", store]).end().await;
    assert_eq!(issued.lines[0], "token 4 of Eve:");
    let mut eve = Program::start(CLIENT, &["--url", &url, &format!("--token={}", issued.lines[1])]);
    eve.shows(&["Eve joined.", "Welcome Eve."]).await;
    let revoked = Program::start(SERVER, &["tokens", "revoke", "4", "--store", store]).end().await;
    assert_eq!(revoked.lines, ["revoked token 4"]);
    // The server sees what the other process has done.
    assert!(eve.line().await.contains("the credentials were revoked"));
    let listed = Program::start(SERVER, &["tokens", "list", "--store", store]).end().await;
    assert!(listed.lines[3].starts_with("4 Eve: revoked"), "{:?}", listed.lines);
    let again = Program::start(SERVER, &["tokens", "revoke", "4", "--store", store]).end().await;
    assert_eq!(again.stderr.trim(), "chat-server: there is no token 4 that could be revoked");
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_said_with_its_name() {
    let ended =
        Program::start(SERVER, &["--listen", "127.0.0.1:0", "--store", "/nowhere/chat.sqlite"]).end().await;
    assert!(!ended.success);
    let said = "chat-server: cannot open the store /nowhere/chat.sqlite: ";
    assert!(ended.stderr.starts_with(said), "{}", ended.stderr);
}
