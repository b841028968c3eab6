//! Signs of life that are asked for out of turn.

use tokio::sync::Notify;

use super::*;
use crate::connection::{LifeQuestion, heartbeat::HeartbeatMode};

const SECOND: Duration = Duration::from_secs(1);

fn asked(shared: &Shared) -> (LifeQuestion<'_>, Arc<Notify>) {
    let told = Arc::new(Notify::new());
    (shared.ask_for_life(&told).expect("it is not known to be alive"), told)
}

#[tokio::test(start_paused = true)]
async fn a_ping_frame_asks_and_any_byte_answers() {
    for answer in [frame(PONG, b"", true), frame(TEXT, b"a message", true), vec![TEXT]] {
        let mut rig = Plan::server().heartbeat(120, HeartbeatMode::Text).run();
        let (question, told) = asked(&rig.shared);
        assert_eq!(question.until() - rig.begun, 2 * SECOND);
        assert_eq!(rig.peer.hear_text().await, "ping");
        assert_eq!(rig.peer.hear().await.0, PING);
        assert!(question.is_unanswered() && !question.is_answered());
        rig.peer.raw(&answer).await;
        told.notified().await;
        assert!(question.is_answered() && !question.is_unanswered());
        assert!(rig.shared.ask_for_life(&told).is_none(), "it is known to be alive");
        assert_eq!(rig.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_a_sign_of_life_ends_as_one_that_answers_no_ping() {
    let mut rig = Plan::server().heartbeat(120, HeartbeatMode::Ping).run();
    let (question, told) = asked(&rig.shared);
    let again = Arc::new(Notify::new());
    let joined = rig.shared.ask_for_life(&again).unwrap();
    assert_eq!(joined.until(), question.until());
    tokio::time::sleep_until(question.until()).await;
    assert!(question.is_unanswered() && joined.is_unanswered());
    drop((question, joined, told));
    assert!(rig.shared.outbox.close(EndCause::PingUnanswered));
    assert_eq!(rig.peer.hear().await.0, PING);
    assert_eq!(rig.peer.hear_close().await.0, 4000);
    let end = rig.end().await;
    assert_eq!((end.by, end.code, end.clean), (EndedBy::Heartbeat, Some(4000), false));
    assert_eq!((rig.errors(), rig.elapsed()), (vec![ErrorStage::Heartbeat], 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_frames_is_asked_by_text_where_it_has_to_answer_that() {
    let of_v6 = |mode| {
        let mut plan = Plan::server().heartbeat(120, mode);
        (plan.config.answers_pings, plan.config.ping_text) = (false, "Ping");
        plan.run()
    };
    for mode in [HeartbeatMode::Text, HeartbeatMode::Both] {
        let mut rig = of_v6(mode);
        let (question, told) = asked(&rig.shared);
        assert_eq!(rig.peer.hear_text().await, "Ping");
        assert!(question.is_unanswered());
        rig.peer.text("pong").await;
        told.notified().await;
        assert!(question.is_answered());
    }
    for mode in [HeartbeatMode::Ping, HeartbeatMode::AnyTraffic, HeartbeatMode::Off] {
        let mut rig = of_v6(mode);
        let (question, told) = asked(&rig.shared);
        told.notified().await;
        assert!(question.is_answered(), "{mode:?}: it cannot be asked");
        rig.close(CloseCode::NORMAL, "");
        assert_eq!(rig.peer.hear_close().await.0, 1000, "it was sent nothing before");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_waits_for_its_own_handlers_or_ends_is_not_held_to_be_dead() {
    let mut plan = Plan::server();
    plan.config.read_ahead = 10;
    plan.on_message = Box::new(|_, _| Some(HandlerFuture::new(std::future::pending())));
    let mut rig = plan.run();
    rig.peer.text("the handler waits").await;
    rig.until_received(1).await;
    rig.peer.text("and so does this, which is more than is read ahead").await;
    tokio::task::yield_now().await;
    let (question, told) = asked(&rig.shared);
    told.notified().await;
    assert!(question.is_answered());
    let mut rig = Plan::server().run();
    tokio::task::yield_now().await;
    rig.close(CloseCode::NORMAL, "");
    assert_eq!(rig.peer.hear_close().await.0, 1000);
    let (question, _told) = asked(&rig.shared);
    tokio::time::sleep_until(question.until()).await;
    assert!(!question.is_answered() && !question.is_unanswered(), "it has its close timeout");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_that_takes_more_is_alive_and_one_that_takes_nothing_is_not() {
    let stuck = || async {
        let mut plan = Plan::server();
        plan.pipe = 1000;
        let rig = plan.run();
        rig.shared.outbox.try_send(Message::text("x".repeat(10_000)), false).unwrap();
        tokio::task::yield_now().await;
        rig
    };
    let mut rig = stuck().await;
    let (question, _told) = asked(&rig.shared);
    tokio::task::yield_now().await;
    assert!(question.is_unanswered());
    tokio::time::sleep(SECOND).await;
    assert!(question.is_unanswered());
    let mut some = [0; 500];
    rig.peer.stream.read_exact(&mut some).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert!(!question.is_unanswered(), "it reads");
}
