//! How it looks.

use crate::party::Party;

#[tokio::test]
async fn the_page_fits_a_desk_and_a_phone() {
    let party = Party::open().await;
    let ronald = party.joins("Ronald").await;
    let john = party.joins("John").await;
    let adam = party.driver.phone("Adam").await;
    adam.open(&party.url()).await;
    adam.enters("#entry", party.invite("Adam").expose()).await;
    adam.reads("#me", "Adam").await;
    ronald.enters("#room-name", "rust").await;
    ronald.reads("#conversation", "# rust").await;
    john.reads("#rooms button", "rust").await;
    john.click("#rooms button").await;
    john.reads("#conversation", "# rust").await;
    ronald.click("#everybody button").await;
    for (browser, text) in [
        (&ronald, "Good morning! The new release is out."),
        (&adam, "I read this on my phone. <b>Bold</b> is shown as it was typed, and so is <script>."),
        (&john, "Who comes to the room?"),
        (&ronald, "I am there already, and so is Adam in a minute, as soon as he is out of the train."),
    ] {
        browser.enters("#text", text).await;
        browser.reads("#log .mine", text.trim()).await;
    }
    john.click("#everybody button").await;
    john.reads("#log .said", "out of the train").await;
    adam.click("#menu").await;
    adam.click("#people button").await;
    adam.enters("#text", "Between us: good work.").await;
    adam.click("#menu").await;
    adam.click("#everybody button").await;
    john.reads("#people button", "1 new").await;
    john.picture("desk").await;
    // One word that is wider than the window.
    let long = "a".repeat(100);
    adam.enters("#text", &long).await;
    adam.reads("#log .mine", &long).await;

    adam.sees("innerWidth === 390").await;
    fits(&adam).await;
    // The list of conversations is behind a button.
    adam.sees("getComputedStyle(document.querySelector('#sidebar')).display === 'none'").await;
    adam.picture("phone").await;
    adam.click("#menu").await;
    adam.reads("#sidebar", "Ronald").await;
    fits(&adam).await;
    adam.picture("phone-menu").await;
    adam.click("#people button").await;
    adam.sees("getComputedStyle(document.querySelector('#sidebar')).display === 'none'").await;
    fits(&john).await;
    for browser in [ronald, john, adam] {
        browser.close().await;
    }
    party.driver.end().await;
}

/// Nothing is wider than the window, what is typed into is large enough that phones do not zoom, and is in the window.
async fn fits(browser: &crate::chromium::Browser) {
    for fact in [
        "document.documentElement.scrollWidth <= innerWidth",
        "document.documentElement.scrollHeight <= innerHeight",
        "parseFloat(getComputedStyle(document.querySelector('#text')).fontSize) >= 16",
        "document.querySelector('#send').getBoundingClientRect().right <= innerWidth",
        "document.querySelector('#send').getBoundingClientRect().bottom <= innerHeight",
    ] {
        browser.sees(fact).await;
    }
}
