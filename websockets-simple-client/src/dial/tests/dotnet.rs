//! Refusals of .NET servers, which are not HTTP.

use super::*;

const DISCONNECT: &[u8] = b"\x88\x0c\x03\xe8Disconnect";
const MODES: [Compatibility; 3] = [Compatibility::None, Compatibility::DotNetV6, Compatibility::DotNetV7];

async fn refusal(mode: Compatibility, said: &[u8]) -> ConnectError {
    let adapt = |params: ClientParams| params.compatibility(mode).token(SECRET);
    exchange(adapt, |_| said.to_vec()).await.1.err().unwrap()
}

fn message(error: ConnectError) -> String {
    match error {
        ConnectError::Unauthorized { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_bare_close_frame_is_unauthorized_in_every_mode() {
    for mode in MODES {
        assert_eq!(message(refusal(mode, DISCONNECT).await), "Disconnect", "{mode:?}");
    }
}

#[tokio::test]
async fn the_words_about_subprotocols_are_understood_in_every_mode() {
    let said = b"Invalid subprotocols requested".to_vec();
    for mode in MODES {
        for said in [said.clone(), [said.as_slice(), DISCONNECT].concat()] {
            let error = refusal(mode, &said).await;
            assert!(matches!(error, ConnectError::SubprotocolRejected), "{mode:?} {error:?}");
        }
    }
}

#[tokio::test]
async fn bare_words_are_unauthorized_where_a_dotnet_server_is_expected() {
    for said in [b"Not you!".to_vec(), [b"Not you!".as_slice(), DISCONNECT].concat()] {
        for mode in [Compatibility::DotNetV6, Compatibility::DotNetV7] {
            assert_eq!(message(refusal(mode, &said).await), "Not you!");
        }
        assert_eq!(bad(refusal(Compatibility::None, &said).await), "it is not HTTP: `Not you!`");
    }
}

#[tokio::test]
async fn bare_words_that_quote_the_token_do_not_reach_the_error() {
    for mode in MODES {
        let error = refusal(mode, b"Not you, secret-7!").await;
        assert!(error.to_string().contains("Not you, ***!"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn words_that_stop_within_the_token_do_not_bring_its_begin_to_the_error() {
    for (said, shown) in [("Not you: secret", "Not you: "), ("Not you: sec", "Not you: sec")] {
        let judged = judged(
            |params| params.compatibility(Compatibility::DotNetV6).token(SECRET),
            64,
            async |mut far| {
                far.write_all(said.as_bytes()).await.unwrap();
                far.read_to_end(&mut Vec::new()).await.unwrap();
            },
        );
        assert_eq!(message(judged.await.err().unwrap()), shown);
    }
}

#[tokio::test]
async fn words_that_begin_like_http_are_words() {
    assert_eq!(message(refusal(Compatibility::DotNetV6, b"Hands off").await), "Hands off");
    assert_eq!(
        message(refusal(Compatibility::DotNetV6, b"HTTP is not for you").await),
        "HTTP is not for you"
    );
}

#[tokio::test(start_paused = true)]
async fn words_in_pieces_from_a_server_that_stays_open_are_complete_after_a_silence() {
    let begun = Instant::now();
    let judged = judged(
        |params| params.compatibility(Compatibility::DotNetV7),
        64,
        async |mut far| {
            for word in ["Invalid ", "subprotocols ", "requested"] {
                far.write_all(word.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            far.read_to_end(&mut Vec::new()).await.unwrap();
        },
    );
    assert!(matches!(judged.await, Err(ConnectError::SubprotocolRejected)));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_that_never_ends_its_words_is_cut_off() {
    let said = message(refusal(Compatibility::DotNetV6, &[b'x'; 100_000]).await);
    assert_eq!(said, "x".repeat(4096));
}

#[tokio::test]
async fn a_dotnet_v6_server_gets_the_token_as_the_path_and_no_authorization() {
    let adapt = |params: ClientParams| params.compatibility(Compatibility::DotNetV6).token("a b/c");
    let (head, _) = exchange(adapt, |_| Vec::new()).await;
    assert!(
        head.starts_with("GET /a%20b/c HTTP/1.1\r\n") && value(&head, "Authorization").is_none(),
        "{head}"
    );
}
