//! What must not work.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
};

use websockets_simple_server::{ConnectionEventKind, Event};

use crate::party::Party;

#[tokio::test]
async fn a_wrong_invite_is_told_so_and_a_right_one_is_good_after_it() {
    let party = Party::open().await;
    let browser = party.driver.browser("Ronald").await;
    browser.open(&party.url()).await;
    browser.enters("#entry", "guessed").await;
    browser.reads("#refusal", "This invite is not known.").await;
    browser
        .sees("!document.querySelector('#sign-in').hidden && document.querySelector('#chat').hidden")
        .await;
    assert_eq!(party.server.connection_count(), 0);

    browser.enters("#entry", party.invite("Ronald").expose()).await;
    browser.reads("#me", "Ronald").await;
    browser.close().await;
    party.driver.end().await;
}

#[tokio::test]
async fn whoever_came_with_a_ticket_is_signed_out_when_the_invite_is_revoked_and_told_why() {
    let party = Party::open().await;
    let invite = party.invite("Ronald");
    let ronald = party.driver.browser("Ronald").await;
    ronald.open(&party.url()).await;
    ronald.enters("#entry", invite.expose()).await;
    ronald.reads("#me", "Ronald").await;
    assert!(party.users.revoke(&invite));
    ronald.reads("#refusal", "the credentials were revoked").await;
    ronald.sees("document.querySelector('#chat').hidden").await;
    party.counts(0).await;
    ronald.close().await;
    party.driver.end().await;
}

#[tokio::test]
async fn script_in_a_message_is_shown_and_not_executed() {
    const SCRIPT: &str =
        "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
    let party = Party::open().await;
    let ronald = party.joins("Ronald").await;
    let john = party.joins("John").await;
    ronald.enters("#text", SCRIPT).await;
    ronald.enters("#room-name", "<img/src=x>").await;
    for browser in [&ronald, &john] {
        browser.reads("#rooms button", "<img/src=x>").await;
        browser.click("#everybody button").await;
        browser.reads("#log .said", SCRIPT).await;
        assert_eq!(browser.value("document.querySelectorAll('img, script:not([src])').length").await, 0);
        assert_eq!(browser.value("document.title").await, "Chat");
    }
    // Nor would it be if the page had a hole: neither HTML made of a string, nor an image.
    let hole =
        ronald.value("document.querySelector('#log').insertAdjacentHTML('beforeend', '<b>hi</b>')").await;
    assert!(hole.to_string().contains("TrustedHTML"), "{hole}");
    let refused = "new Promise((told) => {
        addEventListener('securitypolicyviolation', (event) => told(event.effectiveDirective), { once: true });
        document.body.append(Object.assign(new Image(), { src: 'data:,' }));
    })";
    assert_eq!(ronald.value(refused).await, "img-src");
    ronald.close().await;
    john.close().await;
    party.driver.end().await;
}

#[tokio::test]
async fn a_page_of_another_origin_cannot_connect_and_gets_no_ticket() {
    let party = Party::open().await;
    let mut events = party.server.events();
    let invite = party.invite("Ronald");
    let browser = party.driver.browser("Ronald").await;
    let connects = |ticket: &str| {
        let url = party.url().replace("http:", "ws:");
        format!(
            "new Promise((told) => {{
                const bearer = 'bearer.' + btoa('{ticket}').replace(/\\+/g, '-').replace(/\\//g, '_').replace(/=/g, '');
                const socket = new WebSocket('{url}', ['chat.v1', bearer]);
                socket.onopen = () => told('open');
                socket.onclose = ({{ code }}) => told('closed ' + code);
            }})"
        )
    };
    let ask = format!(
        "fetch('{}ticket', {{ method: 'POST', headers: {{ Authorization: 'Bearer {}' }} }}).then((answer) => answer.text())",
        party.url(),
        invite.expose()
    );

    browser.open(&party.url()).await;
    let mut tickets = Vec::new();
    for _ in 0..2 {
        tickets.push(browser.value(&ask).await.as_str().unwrap().to_owned());
    }
    assert_eq!(browser.value(&connects(&tickets[0])).await, "open");

    browser.open(&another_page()).await;
    assert_eq!(browser.value(&connects(&tickets[1])).await, "closed 1006");
    assert_eq!(browser.value(&ask).await, "TypeError: Failed to fetch");
    let why = loop {
        if let Event::Connection(event) = events.recv().await.expect("the server runs")
            && let ConnectionEventKind::Refused(_, why) = event.kind
        {
            break why;
        }
    };
    assert_eq!(why, "403: this origin is not allowed");
    browser.close().await;
    party.driver.end().await;
}

/// An empty page on another port, without any policy that would keep it from connecting.
fn another_page() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\nConnection: close\r\n\r\n<!doctype html>";
            let _ = stream.write_all(page.as_bytes());
        }
    });
    url
}
