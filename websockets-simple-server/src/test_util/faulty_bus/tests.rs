use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use websockets_simple_core::test_util::within;

use super::*;
use crate::{
    cluster::{MemoryBus, PublishError},
    test_util::{BusRule, bus_conformance},
};

/// Nodes with these faults, one each, on one bus.
struct Stage {
    ports: Vec<BusPort>,
    _running: JoinSet<()>,
}

impl Stage {
    async fn of<const N: usize>(faults: [&BusFaults; N]) -> Self {
        let (all, mut running) = (MemoryBus::new(), JoinSet::new());
        let ports: Vec<_> = (0..N).map(|_| BusPort::new(1024 * 1024, 1024 * 1024)).collect();
        for (port, faults) in ports.iter().zip(faults) {
            let (bus, link) = (FaultyBus::new(all.clone(), faults.clone()), port.link());
            running.spawn(async move { bus.run(link).await });
            assert_eq!(within(port.next_event()).await, BusEvent::Up);
            port.subscribe(&subject());
        }
        settle().await;
        Self { ports, _running: running }
    }

    fn publish(&self, node: usize, message: &'static str) -> Result<(), PublishError> {
        self.ports[node].publish(&subject(), message.into())
    }

    /// What a node has heard, once nothing more is on the way.
    async fn heard(&self, node: usize) -> String {
        settle().await;
        let events = std::iter::from_fn(|| self.ports[node].try_next_event());
        let word = |event| match event {
            BusEvent::Message(message) => String::from_utf8(message.into()).unwrap(),
            BusEvent::Down(_) => "DOWN".to_owned(),
            BusEvent::Up => "UP".to_owned(),
            other => format!("{other:?}"),
        };
        events.map(word).collect::<Vec<_>>().join(" ")
    }
}

fn subject() -> Subject {
    Subject::new("a")
}

/// Paused time passes when all tasks wait.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_is_told_and_hears_again_what_comes_after_it_is_mended() {
    let (one, two) = (BusFaults::new(1), BusFaults::new(2));
    let stage = Stage::of([&one, &two]).await;
    one.cut();
    settle().await;
    assert_eq!(stage.publish(0, "refused"), Err(PublishError::Down));
    stage.publish(1, "during").unwrap();
    assert_eq!((stage.heard(0).await, stage.heard(1).await), ("DOWN".into(), "during".into()));
    one.mend();
    settle().await;
    stage.publish(1, "after").unwrap();
    assert_eq!((stage.heard(0).await, stage.heard(1).await), ("UP after".into(), "after".into()));
}

#[tokio::test(start_paused = true)]
async fn subscriptions_that_changed_while_it_was_cut_off_have_changed() {
    let (one, two) = (BusFaults::new(1), BusFaults::new(2));
    let stage = Stage::of([&one, &two]).await;
    one.cut();
    settle().await;
    let other = Subject::new("other");
    stage.ports[0].unsubscribe(&subject());
    stage.ports[0].subscribe(&other);
    one.mend();
    settle().await;
    stage.publish(1, "not subscribed to").unwrap();
    stage.ports[1].publish(&other, "subscribed to".into()).unwrap();
    assert_eq!(stage.heard(0).await, "DOWN UP subscribed to");
}

#[tokio::test(start_paused = true)]
async fn one_way_is_lost_while_the_bus_is_up() {
    let (one, two) = (BusFaults::new(1), BusFaults::new(2));
    let stage = Stage::of([&one, &two]).await;
    one.mute();
    stage.publish(0, "muted").unwrap();
    stage.publish(1, "heard").unwrap();
    assert_eq!((stage.heard(0).await, stage.heard(1).await), ("heard".into(), "heard".into()));
    one.mend();
    one.deafen();
    stage.publish(0, "said").unwrap();
    stage.publish(1, "not heard").unwrap();
    assert_eq!((stage.heard(0).await, stage.heard(1).await), (String::new(), "said not heard".into()));
    one.mend();
    stage.publish(1, "both").unwrap();
    assert_eq!((stage.heard(0).await, stage.heard(1).await), ("both".into(), "both".into()));
}

#[tokio::test(start_paused = true)]
async fn messages_are_lost_doubled_and_late_as_it_is_asked_for() {
    let (one, two) = (BusFaults::new(1), BusFaults::new(2));
    let stage = Stage::of([&one, &two]).await;
    two.lose(1.0);
    stage.publish(0, "lost").unwrap();
    assert_eq!((stage.heard(0).await, stage.heard(1).await), ("lost".into(), String::new()));
    two.lose(0.0);
    two.double(f64::INFINITY);
    stage.publish(0, "twice").unwrap();
    assert_eq!((stage.heard(0).await, stage.heard(1).await), ("twice".into(), "twice twice".into()));
    two.double(f64::NAN);
    two.delay(Duration::from_millis(100));
    for word in ["1", "2", "3", "4", "5", "6", "7", "8"] {
        stage.publish(0, word).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(stage.ports[1].try_next_event(), None, "it comes later");
    assert_eq!(stage.heard(1).await, "1 2 3 4 5 6 7 8", "in order");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_faults() {
    const WORDS: [&str; 12] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];
    let heard = async |seed| {
        let (one, two) = (BusFaults::new(0), BusFaults::new(seed));
        let stage = Stage::of([&one, &two]).await;
        two.lose(0.1);
        two.double(0.2);
        two.reorder(0.4);
        WORDS.iter().for_each(|word| stage.publish(0, word).unwrap());
        stage.heard(1).await
    };
    let (first, again, other) = (heard(3).await, heard(3).await, heard(4).await);
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert_ne!(first, WORDS.join(" "));
}

#[tokio::test(start_paused = true)]
async fn an_interruption_ends_by_itself() {
    let (one, two) = (BusFaults::new(1), BusFaults::new(2));
    let stage = Stage::of([&one, &two]).await;
    two.interrupt(1.0, Duration::from_secs(30));
    stage.publish(0, "lost").unwrap();
    assert_eq!(stage.heard(1).await, "DOWN");
    two.interrupt(0.0, Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(28)).await;
    assert_eq!(stage.heard(1).await, "", "it is interrupted for 30 s");
    settle().await;
    stage.publish(0, "after").unwrap();
    assert_eq!(stage.heard(1).await, "UP after");
}

/// All rules, in virtual time, with outages.
async fn conform(faults: impl Fn() -> BusFaults + Send + Sync + 'static) {
    let (bus, all_faults) = (MemoryBus::new(), Arc::new(Mutex::new(Vec::new())));
    let (all, cut) = (bus.clone(), Arc::clone(&all_faults));
    let is_down = Arc::new(AtomicBool::new(false));
    let down_now = Arc::clone(&is_down);
    let make = move || {
        let faults = faults();
        if is_down.load(Ordering::Relaxed) {
            faults.cut();
        }
        all_faults.lock().unwrap().push(faults.clone());
        FaultyBus::new(bus.clone(), faults)
    };
    let outage = move |down| {
        down_now.store(down, Ordering::Relaxed);
        for faults in cut.lock().unwrap().iter() {
            if down { BusFaults::cut(faults) } else { BusFaults::mend(faults) }
        }
        std::future::ready(())
    };
    bus_conformance(make).outage(outage).left(move || std::future::ready(all.subjects())).run().await;
}

#[tokio::test(start_paused = true)]
async fn without_faults_it_keeps_all_rules() {
    conform(|| BusFaults::new(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_slow_keeps_all_rules() {
    conform(|| {
        let faults = BusFaults::new(1);
        faults.delay(Duration::from_millis(5));
        faults
    })
    .await;
}

/// The rule that a bus with these faults breaks first.
async fn broken(faults: fn(&BusFaults)) -> String {
    let checking = tokio::spawn(conform(move || {
        let planned = BusFaults::new(5);
        faults(&planned);
        planned
    }));
    let panic = checking.await.expect_err("it breaks a rule").into_panic();
    let said = panic.downcast_ref::<String>().unwrap();
    let rule = said.strip_prefix("the bus breaks the rule ").unwrap();
    rule.split_once(' ').unwrap().0.to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_loses_messages_is_found() {
    let rule = broken(|faults| faults.lose(0.002)).await;
    assert_eq!(rule, format!("{:?}", BusRule::ExactlyOnce));
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_doubles_messages_is_found() {
    let rule = broken(|faults| faults.double(0.002)).await;
    assert_eq!(rule, format!("{:?}", BusRule::ExactlyOnce));
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_reorders_messages_is_found() {
    let rule = broken(|faults| faults.reorder(0.002)).await;
    assert_eq!(rule, format!("{:?}", BusRule::Order));
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_interrupted_is_found() {
    let rule = broken(|faults| faults.interrupt(0.002, Duration::from_millis(10))).await;
    assert_eq!(rule, format!("{:?}", BusRule::ExactlyOnce));
}
