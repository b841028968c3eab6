//! People who chat.

use websockets_simple_examples::{
    chat::{self, Room},
    page::Page,
};
use websockets_simple_server::{CloseCode, WebsocketServer};

use crate::{
    chromium::Driver,
    party::{Party, anywhere},
};

#[tokio::test]
async fn two_browsers_chat_with_everybody_in_a_room_and_in_private() {
    let party = Party::open().await;
    let ronald = party.joins("Ronald").await;
    let john = party.joins("John").await;
    ronald.reads("#log .notice", "John joined.").await;
    for browser in [&ronald, &john] {
        browser.reads("#connection", "Connected").await;
        browser.reads("#everybody small", "2").await;
    }

    ronald.enters("#text", "Hello John, zażółć 你好").await;
    for browser in [&ronald, &john] {
        browser.reads("#log .said", "Ronald").await;
        browser.reads("#log .said", "Hello John, zażółć 你好").await;
    }
    ronald.reads("#log .mine", "Hello John").await;

    ronald.enters("#room-name", "Rust").await;
    ronald.reads("#conversation", "# rust").await;
    john.reads("#rooms button", "rust").await;
    john.click("#rooms button").await;
    john.reads("#conversation", "# rust").await;
    ronald.reads("#log .notice", "John entered.").await;
    john.enters("#text", "in the room").await;
    ronald.reads("#log .said", "in the room").await;

    // What is said elsewhere is counted until it is looked at.
    john.click("#people button").await;
    john.reads("#conversation", "Ronald, in private").await;
    john.enters("#text", "between us").await;
    john.reads("#log .said", "between us").await;
    ronald.reads("#people button", "1 new").await;
    ronald.sees("!document.querySelector('#log').innerText.includes('between us')").await;
    ronald.click("#people button").await;
    ronald.reads("#log .said", "between us").await;
    ronald.sees("!document.querySelector('#people').innerText.includes('new')").await;

    ronald.click("#rooms button").await;
    ronald.click("#exit-room").await;
    ronald.reads("#conversation", "Everybody").await;
    john.click("#rooms button").await;
    john.reads("#log .notice", "Ronald left.").await;

    john.click("#sign-out").await;
    john.sees("!document.querySelector('#sign-in').hidden && document.querySelector('#chat').hidden").await;
    ronald.reads("#log .notice", "John left.").await;
    party.counts(1).await;
    ronald.close().await;
    john.close().await;
    party.driver.end().await;
}

#[tokio::test]
async fn a_browser_that_lost_its_connection_comes_back_to_its_room_with_a_new_ticket() {
    let party = Party::open().await;
    let ronald = party.joins("Ronald").await;
    let john = party.joins("John").await;
    ronald.enters("#room-name", "rust").await;
    ronald.reads("#conversation", "# rust").await;
    let before = party.server.connections();

    party.server.disconnect_user(&"Ronald".to_owned(), CloseCode::UNRESPONSIVE, "").await;
    ronald.reads("#log .notice", "The connection was lost.").await;
    ronald.reads("#connection", "Connected").await;
    john.reads("#log .notice", "Ronald left.").await;
    ronald.reads("#conversation", "# rust").await;
    party.counts(2).await;
    assert_ne!(before, party.server.connections());

    john.click("#rooms button").await;
    john.reads("#conversation", "# rust").await;
    john.enters("#text", "there you are").await;
    ronald.reads("#log .said", "there you are").await;
    ronald.enters("#text", "here I am").await;
    john.reads("#log .said", "here I am").await;
    ronald.close().await;
    john.close().await;
    party.driver.end().await;
}

#[tokio::test]
async fn the_history_of_a_tab_outlives_a_reload_and_not_the_leaving() {
    let party = Party::open().await;
    let ronald = party.joins("Ronald").await;
    ronald.enters("#text", "remember me").await;
    ronald.reads("#log .said", "remember me").await;
    ronald.reload().await;
    // The invite is not kept.
    ronald.enters("#entry", party.invite("Ronald").expose()).await;
    ronald.reads("#log .said", "remember me").await;
    ronald.click("#sign-out").await;
    ronald.sees("document.querySelector('#chat').hidden").await;
    ronald.enters("#entry", party.invite("Ronald").expose()).await;
    ronald.reads("#me", "Ronald").await;
    ronald.reads("#connection", "Connected").await;
    let stored = ronald.value("JSON.stringify(Object.values(sessionStorage))").await;
    assert!(!stored.to_string().contains("remember me"), "{stored}");
    ronald.close().await;
    party.driver.end().await;
}

#[tokio::test]
async fn an_invite_in_the_link_signs_in_and_does_not_stay_in_it() {
    let party = Party::open().await;
    let browser = party.driver.browser("Ronald").await;
    browser.open(&format!("{}#{}", party.url(), party.invite("Ronald").expose())).await;
    browser.reads("#me", "Ronald").await;
    assert_eq!(browser.value("location.href").await, party.url());
    browser.close().await;
    party.driver.end().await;
}

#[tokio::test]
async fn a_guest_signs_in_with_a_name() {
    let server = WebsocketServer::new(Page::for_guests().behind(chat::params(anywhere()).same_origin()));
    Room::open_to_guests(&server);
    server.start().await.unwrap();
    let driver = Driver::start().await;
    let browser = driver.browser("guest").await;
    browser.open(&format!("http://{}/", server.local_addr().expect("it listens"))).await;
    browser.reads("#sign-in", "Your name").await;
    browser.enters("#entry", "Mary Ann").await;
    browser.reads("#me", "Mary-Ann").await;
    browser.close().await;
    driver.end().await;
}
