//! Where tokens come from.

use tokio::process::Command;
use websockets_simple_server::{CloseCode, MemoryUsers, Server, User};

use super::{WS, greeted, greeting_users, piped, url_of};
use crate::program::Program;

const TOKEN: &str = "the-token-of-Ronald";
const OTHER_TOKEN: &str = "the-token-of-John";

/// A server that greets Ronald and John, who have tokens.
fn greeting() -> Server<User<String>> {
    let users = MemoryUsers::new();
    users.add(TOKEN, "Ronald".to_owned());
    users.add(OTHER_TOKEN, "John".to_owned());
    greeting_users(users)
}

#[tokio::test]
async fn a_token_comes_from_a_file_the_environment_or_a_command() {
    let server = greeting();
    let url = url_of(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\nmore\n")).unwrap();
    let file = file.to_str().unwrap();
    greeted(&piped(&["connect", "--token-file", file, &url], &[]).await);
    for place in ["header", "query", "subprotocol"] {
        greeted(&piped(&["connect", "--token-file", file, "--token-in", place, &url], &[]).await);
    }
    let mut with_variable = Command::new(WS);
    with_variable.args(["connect", "--token-env", "WS_TEST_TOKEN", &url]).env("WS_TEST_TOKEN", TOKEN);
    greeted(&Program::spawn(&mut with_variable).end().await);
    greeted(&piped(&["connect", "--token-command", &format!("echo {TOKEN}"), &url], &[]).await);
}

#[tokio::test]
async fn a_token_that_is_missing_is_5_and_a_wrong_one_is_4_and_none_is_shown() {
    let server = greeting();
    let url = url_of(&server).await;
    for (args, code, said) in [
        (&["--token-env", "WS_NO_SUCH"][..], 5, "ws: the environment variable WS_NO_SUCH is not set\n"),
        (
            &["--token-command", "echo wrong; exit 7"],
            5,
            "ws: the token provider returned no usable token: the command for the token failed: exit status: 7\n",
        ),
        (&["--token-command", "echo wrong"], 4, "ws: not authorized: Unauthorized\n"),
        (&[], 4, "ws: not authorized: Unauthorized\n"),
    ] {
        let ended = piped(&[&["connect"], args, &[&url]].concat(), &[]).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), said), "{args:?}");
    }
    let two = piped(&["connect", "--token-env", "A", "--token-command", "b", &url], &[]).await;
    assert_eq!(two.code, Some(2), "{}", two.stderr);
}

#[tokio::test]
async fn a_client_that_connects_again_asks_its_command_again() {
    let server = greeting();
    let url = url_of(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let command = format!("cat '{}'", file.display());
    let mut program = super::ws(&["connect", "-q", "--reconnect", "--token-command", &command, &url]);
    program.shows(&["hello Ronald"]).await;
    std::fs::write(&file, OTHER_TOKEN).unwrap();
    server.to_all().close(CloseCode::new(1012).unwrap(), "restart");
    program.shows(&["hello John"]).await;
    assert_eq!(program.end().await.code, Some(0));
}
