use super::*;

fn rejected(status: u16) -> ConnectError {
    ConnectError::Rejected { status, headers: Box::default(), body: String::new(), retry_after: None }
}

#[test]
fn a_refusal_is_worth_another_try_by_its_status_as_the_documentation_lists_them() {
    let again: Vec<u16> = (100..520).filter(|status| rejected(*status).is_worth_retrying()).collect();
    let expected = [408, 409, 425, 429, 500, 502, 503, 504];
    assert_eq!(again, expected.into_iter().chain(506..520).collect::<Vec<_>>());
    assert!(rejected(599).is_worth_retrying(), "unknown ones count as 500");
}

#[test]
fn every_error_is_in_the_documented_table_with_its_verdict() {
    let lost = || Arc::new(io::Error::from(io::ErrorKind::ConnectionReset));
    let (headers, retry_after) = (Box::default, None);
    let mut verdicts = vec![
        ("AlreadyConnected", ConnectError::AlreadyConnected),
        ("BadResponse", ConnectError::BadResponse(String::new())),
        ("Cancelled", ConnectError::Cancelled),
        ("Closed", ConnectError::Closed),
        ("Connect", ConnectError::Connect(lost())),
        ("HandlerPanic", ConnectError::HandlerPanic),
        ("Lost", ConnectError::Lost(lost())),
        ("Proxy", ConnectError::Proxy(ProxyError::Connect(lost()))),
        ("Redirected", ConnectError::Redirected { location: String::new(), headers: headers(), retry_after }),
        ("Resolve", ConnectError::Resolve(lost())),
        ("SubprotocolRejected", ConnectError::SubprotocolRejected),
        ("Timeout", ConnectError::Timeout),
        ("Tls", ConnectError::Tls(TlsFailure::Expired)),
        ("TokenProvider", ConnectError::TokenProvider(Arc::new(TlsFailure::Expired))),
        ("Unauthorized", ConnectError::unauthorized(String::new())),
    ];
    let rows =
        include_str!("../error.rs").lines().filter_map(|line| line.trim_start().strip_prefix("/// | ["));
    for row in rows.filter(|row| !row.contains("`Rejected`")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let names: Vec<_> = cells[0].split('`').skip(1).step_by(2).collect();
        verdicts.retain(|(name, error)| {
            let is_listed = names.contains(name);
            assert!(!is_listed || error.is_worth_retrying() == (cells[1] == "yes"), "{name}");
            !is_listed
        });
    }
    assert!(verdicts.is_empty(), "{verdicts:?}");
}

#[test]
fn a_refusal_of_a_proxy_is_worth_another_try_where_one_of_a_server_is() {
    for status in 300..520 {
        let refused = ConnectError::Proxy(ProxyError::Rejected { status, retry_after: None });
        assert_eq!(refused.is_worth_retrying(), rejected(status).is_worth_retrying(), "{status}");
    }
    let wait = Some(Duration::from_secs(7));
    let busy = ConnectError::Proxy(ProxyError::Rejected { status: 503, retry_after: wait });
    assert_eq!((busy.retry_after(), busy.stage()), (wait, Some(ErrorStage::Transport)));
}

#[test]
fn what_is_wrong_with_a_proxy_is_said_and_what_was_wrong_with_the_network_is_its_source() {
    let lost = || Arc::new(io::Error::from(io::ErrorKind::ConnectionReset));
    for (error, text, has_source, again) in [
        (
            ProxyError::BadResponse("it is not HTTP"),
            "the proxy sent an invalid answer: it is not HTTP",
            false,
            true,
        ),
        (ProxyError::Connect(lost()), "cannot connect to the proxy", true, true),
        (ProxyError::Lost(lost()), "the connection to the proxy was lost before it answered", true, true),
        (ProxyError::Resolve(lost()), "cannot resolve the name of the proxy", true, true),
        (
            ProxyError::Rejected { status: 403, retry_after: None },
            "the proxy did not connect to the server, with HTTP status 403",
            false,
            false,
        ),
        (
            ProxyError::Unauthorized,
            "the proxy requires a user name and a password, or does not accept those that it was shown",
            false,
            false,
        ),
    ] {
        let error = ConnectError::Proxy(error);
        let source = std::error::Error::source(&error).is_some();
        assert_eq!(
            (error.to_string().as_str(), source, error.is_worth_retrying()),
            (text, has_source, again)
        );
    }
}
