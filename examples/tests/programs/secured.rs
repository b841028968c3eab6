//! Programs over TLS.

use tokio::process::Command;
use websockets_simple_examples::authority::Authority;

use crate::program::Program;

#[tokio::test]
async fn of_four_clients_one_gets_in_and_the_others_are_told_why_not() {
    let ended = Program::start(env!("CARGO_BIN_EXE_mtls"), &[]).end().await;
    assert!(ended.success, "{}", ended.stderr);
    assert_eq!(
        ended.lines,
        [
            "a certificate of ours: hello ronald",
            "no certificate: TLS failed: the server requires a client certificate",
            "a certificate of another authority: TLS failed: the server refused the client's certificate: \
             its issuer is not trusted by the server",
            "a revoked certificate: TLS failed: the server refused the client's certificate: it was revoked",
        ]
    );
}

#[tokio::test]
async fn who_shows_a_json_web_token_chats_under_its_name_and_a_changed_one_is_refused() {
    let mut server = Program::start(env!("CARGO_BIN_EXE_jwt-server"), &["--listen", "127.0.0.1:0"]);
    let address = server.address().await;
    server.shows(&["Tokens, valid for an hour:", "  Ronald"]).await;
    let command = server.line().await;
    let token = command.split("--token=").nth(1).unwrap();
    let client = |token: &str| {
        let args = ["--url", &format!("ws://{address}"), &format!("--token={token}")];
        Program::start(env!("CARGO_BIN_EXE_chat-client"), &args)
    };
    client(token).shows(&["Ronald joined.", "Welcome Ronald."]).await;
    let refused = client(&token[..token.len() - 1]).end().await;
    assert_eq!(refused.stderr.trim(), "chat-client: not authorized: Unauthorized");
}

#[tokio::test]
async fn the_first_start_makes_certificates_and_the_next_one_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("certificates");
    let path = path.to_str().unwrap();
    let start = || {
        Program::start(env!("CARGO_BIN_EXE_tls-chat"), &["--address", "127.0.0.1:0", "--certificates", path])
    };
    let mut server = start();
    assert_eq!(server.line().await, format!("made an authority and a certificate in {path}"));
    let address = server.address().await;
    let mut ronald = Program::start(
        env!("CARGO_BIN_EXE_tls-chat"),
        &["join", "Ronald", "--address", &address, "--certificates", path],
    );
    assert!(ronald.line().await.starts_with("connected with TLSv1_3 and TLS13_"));
    ronald.type_line("hello").await;
    ronald.shows(&["Ronald: hello"]).await;
    drop(server);
    let made = std::fs::read(folder.path().join("certificates/server.pem")).unwrap();
    start().address().await;
    assert_eq!(std::fs::read(folder.path().join("certificates/server.pem")).unwrap(), made);
}

#[tokio::test]
async fn the_chat_speaks_tls_with_a_certificate_from_files_and_says_what_is_wrong_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("tests").unwrap();
    authority.issue(&["127.0.0.1"], 1).unwrap().write(folder.path(), "server").unwrap();
    std::fs::write(folder.path().join("authority.pem"), authority.pem()).unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (chain, key) = (file("server.pem"), file("server-key.pem"));
    let server = |chain: &str, key: &str| {
        let listen = ["--anonymous", "--listen", "127.0.0.1:0"];
        let tls = ["--tls-cert", chain, "--tls-key", key];
        Program::start(env!("CARGO_BIN_EXE_chat-server"), &[&listen[..], &tls[..]].concat())
    };
    let mut running = server(&chain, &key);
    let url = format!("wss://{}", running.address().await);
    let mut client = Program::start(
        env!("CARGO_BIN_EXE_chat-client"),
        &["--url", &url, "--name", "Ronald", "--root", &file("authority.pem")],
    );
    client.shows(&["Ronald joined.", "Welcome Ronald."]).await;
    let stranger = Program::start(env!("CARGO_BIN_EXE_chat-client"), &["--url", &url]).end().await;
    assert_eq!(
        stranger.stderr.trim(),
        "chat-client: TLS failed: the server's certificate was issued by an untrusted issuer"
    );
    let wrong = server(&chain, &chain).end().await;
    assert_eq!(
        wrong.stderr.trim(),
        "chat-server: TLS cannot be set up for 127.0.0.1:0: there is no unencrypted private key in the PEM"
    );
}

#[tokio::test]
async fn the_password_of_a_pfx_file_comes_from_the_environment_and_a_wrong_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.pfx");
    std::fs::write(&path, "this is no archive").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
    command
        .arg("--pfx")
        .arg(&path)
        .args(["--listen", "127.0.0.1:0", "--store", ":memory:"])
        .env("CHAT_PFX_PASSWORD", "s3cret");
    let ended = Program::spawn(&mut command).end().await;
    assert!(!ended.success);
    let said = "chat-server: TLS cannot be set up for 127.0.0.1:0: the PKCS#12 data cannot be read: ";
    assert!(ended.stderr.starts_with(said) && !ended.stderr.contains("s3cret"), "{}", ended.stderr);
}
