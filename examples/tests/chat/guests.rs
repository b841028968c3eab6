//! A chat without accounts.

use super::*;

async fn guests() -> WebsocketServer {
    let server = WebsocketServer::new(chat::params(anywhere()));
    Room::open_to_guests(&server);
    server.start().await.unwrap();
    server
}

#[tokio::test]
async fn a_guest_gets_a_visible_short_name_that_no_other_guest_has() {
    let server = guests().await;
    let addr = server.local_addr().unwrap();
    let long = "x".repeat(1000);
    let names = [
        (None, "Guest-1"),
        (Some(""), "Guest-2"),
        (Some(" \t\u{200b} "), "Guest-3"),
        (Some("Ronald"), "Ronald"),
        (Some("Ronald"), "Ronald-2"),
        (Some("rONALD"), "rONALD-3"),
        (Some("Mary Ann"), "Mary-Ann"),
        (Some("Jo\u{7}hn\r\n\u{1b}"), "John"),
        (Some("guest-4"), "guest-4"),
        (None, "Guest-5"),
        (Some(&long), &long[..32]),
    ];
    let mut devices = Vec::new();
    for (asked, given) in names {
        let params = asked.into_iter().fold(to(addr), |params, name| params.query("name", name));
        let mut device = Device::connect(params).await;
        device.hears(&[&format!("{given} joined."), &format!("Welcome {given}.")]).await;
        devices.push(device);
    }
}

#[tokio::test]
async fn a_name_is_free_again_when_its_guest_has_left() {
    let server = guests().await;
    let addr = server.local_addr().unwrap();
    let mut watcher = Device::connect(to(addr).query("name", "watcher")).await;
    watcher.hears(&["watcher joined.", "Welcome watcher."]).await;
    for _ in 0..2 {
        let mut ronald = Device::connect(to(addr).query("name", "Ronald")).await;
        ronald.hears(&["Ronald joined.", "Welcome Ronald."]).await;
        ronald.leaves().await;
        watcher.hears(&["Ronald joined.", "Ronald left."]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_hears_everything_in_the_same_order() {
    const GUESTS: usize = 4;
    const LINES: usize = 50;
    let server = guests().await;
    let addr = server.local_addr().unwrap();
    let mut devices = Vec::new();
    for _ in 0..GUESTS {
        devices.push(Device::connect(to(addr).subprotocol(SUBPROTOCOL)).await);
        let last = devices.len();
        for (place, device) in devices.iter_mut().enumerate() {
            // Joined, and for the newcomer Welcome.
            for _ in 0..1 + usize::from(place + 1 == last) {
                device.next().await;
            }
        }
    }
    let talking = devices.into_iter().map(|mut device| {
        tokio::spawn(async move {
            for line in 0..LINES {
                device.says(&line.to_string()).await;
            }
            let mut heard = Vec::new();
            for _ in 0..GUESTS * LINES {
                heard.push(Message::text(device.next().await).json::<ChatPacket>().unwrap());
            }
            // Kept to the end: the others do not want to hear who leaves.
            (heard, device)
        })
    });
    let talking: Vec<_> = talking.collect();
    let mut transcripts = Vec::new();
    for task in talking {
        transcripts.push(task.await.unwrap());
    }
    for (heard, _) in &transcripts {
        assert_eq!(*heard, transcripts[0].0);
    }
}
