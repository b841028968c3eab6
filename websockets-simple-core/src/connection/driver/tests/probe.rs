//! A sign of life that is asked for at once.

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

/// Whether this is about how long a peer has to answer.
fn is_patience(elapsed: Duration) -> bool {
    (PATIENCE..PATIENCE + Duration::from_millis(10)).contains(&elapsed)
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_and_given_up_at_the_deadline() {
    for plan in [Plan::server, Plan::client] {
        let mut rig = plan().run();
        assert!(rig.shared.probe(PATIENCE));
        assert_eq!(rig.peer.hear().await.0, PING);
        assert_eq!(rig.peer.hear_close().await.0, 4000);
        let end = rig.end().await;
        assert_eq!((end.by, end.code, end.clean), (EndedBy::Heartbeat, Some(4000), false));
        assert!(is_patience(rig.elapsed()), "{:?}", rig.elapsed());
        assert_eq!(rig.errors(), [ErrorStage::Heartbeat]);
        assert!(!rig.shared.probe(PATIENCE), "it has ended");
    }
}

#[tokio::test(start_paused = true)]
async fn anything_that_comes_proves_life_and_the_next_probe_is_another_one() {
    let mut rig = Plan::client().run();
    for (first, payload) in [(PONG, &b""[..]), (TEXT, b"hi"), (0x01, b"begins")] {
        assert!(rig.shared.probe(PATIENCE));
        assert_eq!(rig.peer.hear().await.0, PING);
        tokio::time::sleep(PATIENCE - Duration::from_secs(1)).await;
        rig.peer.say(first, payload).await;
        tokio::time::sleep(PATIENCE * 2).await;
        assert!(rig.shared.outbox.is_open() && rig.errors().is_empty());
    }
    assert!(rig.shared.probe(PATIENCE));
    assert_eq!(rig.end().await.by, EndedBy::Heartbeat);
}

#[tokio::test(start_paused = true)]
async fn a_second_probe_does_not_put_off_the_first() {
    let mut rig = Plan::client().run();
    assert!(rig.shared.probe(PATIENCE));
    tokio::time::sleep(PATIENCE / 2).await;
    assert!(rig.shared.probe(PATIENCE));
    rig.end().await;
    assert!(is_patience(rig.elapsed()), "{:?}", rig.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_understands_it_gets_a_probe_and_no_ping() {
    let mut rig = Plan { hello: true, ..Plan::client() }.run();
    let server = crate::protocol::Controls::new();
    rig.peer.text(server.hello(None).as_text().unwrap()).await;
    assert!(rig.peer.hear_text().await.contains("\"type\":\"speaks\""));
    assert!(rig.shared.probe(PATIENCE));
    let asked = rig.peer.hear_text().await;
    let read = server.read(&Message::text(asked)).unwrap().unwrap();
    let Some(Control::Probe(number)) = read else { panic!("{read:?}") };
    rig.peer.text(server.message(&Control::Alive(number)).as_text().unwrap()).await;
    tokio::time::sleep(PATIENCE * 2).await;
    assert!(rig.shared.outbox.is_open() && rig.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_handlers_are_behind_does_not_count() {
    let mut rig = Plan::client().config(|config| config.read_ahead = 0).busy(60).run();
    for text in ["one", "two", "three"] {
        rig.peer.text(text).await;
    }
    rig.until_received(1).await;
    assert!(rig.shared.probe(PATIENCE));
    assert_eq!(rig.peer.hear().await.0, PING);
    rig.peer.say(PONG, b"").await;
    rig.until_received(3).await;
    assert!(rig.shared.outbox.is_open() && rig.errors().is_empty());
}
