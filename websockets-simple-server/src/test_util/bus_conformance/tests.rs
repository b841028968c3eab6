use std::sync::Arc;

use buggy_bus::{Bug, BuggyBus, Hub};

use super::*;
use crate::cluster::MemoryBus;

mod buggy_bus;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bus_of_one_process_keeps_all_rules() {
    let bus = MemoryBus::new();
    let all = bus.clone();
    bus_conformance(move || bus.clone()).left(move || std::future::ready(all.subjects())).run().await;
}

fn with(bug: Bug) -> BusConformance<BuggyBus> {
    let hub = Arc::new(Hub::default());
    let (all, cut) = (Arc::clone(&hub), Arc::clone(&hub));
    bus_conformance(move || BuggyBus::new(bug, &hub))
        .outage(move |down| {
            cut.set_down(down);
            std::future::ready(())
        })
        .left(move || std::future::ready(all.nodes()))
        .patience(Duration::from_secs(5))
}

#[tokio::test(start_paused = true)]
async fn a_bus_without_a_bug_keeps_all_rules() {
    with(Bug::None).run().await;
}

#[tokio::test(start_paused = true)]
async fn each_rule_finds_the_bug_that_breaks_it() {
    let mut wrong = Vec::new();
    for (bug, rule) in [
        (Bug::NotToItself, BusRule::Own),
        (Bug::ToAll, BusRule::ExactlyOnce),
        (Bug::SwapsTwoOfThousands, BusRule::Order),
        (Bug::CutsLongMessages, BusRule::Unchanged),
        (Bug::TakesAndLosesLongMessages, BusRule::TooLarge),
        (Bug::SubscribesBehindTheNext, BusRule::Barrier),
        (Bug::StaysSubscribed, BusRule::Unsubscribe),
        (Bug::SubscribesByPrefix, BusRule::Alike),
        (Bug::HasThousandSubjects, BusRule::ManySubjects),
        (Bug::HasOneNodeEach, BusRule::SeveralNodes),
        (Bug::KeepsTheConnection, BusRule::Reconnect),
        (Bug::ForgetsAtReconnect, BusRule::Reconnect),
        (Bug::SendsAgainAfterReconnect, BusRule::NoInversion),
        (Bug::KeepsQuietInAnOutage, BusRule::Outage),
        (Bug::HangsUpOnSlowReaders, BusRule::SlowReader),
        (Bug::LosesTheEnd, BusRule::Close),
        (Bug::NeverEnds, BusRule::Close),
        (Bug::NeverEndsInAnOutage, BusRule::Close),
        (Bug::IsBrokenByDrops, BusRule::Restart),
        (Bug::LeavesNodes, BusRule::NothingLeft),
    ] {
        let suite = with(bug);
        let mut seen = None;
        // That of order takes a second each time.
        let others = BusRule::ALL.into_iter().filter(|other| *other != BusRule::Order || rule == *other);
        for checked in others {
            if let Err(said) = suite.check(checked).await {
                seen = Some((checked, said));
                break;
            }
        }
        if seen.as_ref().map(|(broken, _)| *broken) != Some(rule) {
            wrong.push((bug, rule, seen));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_forgets_subscriptions_is_found_by_name() {
    let suite = with(Bug::ForgetsAtReconnect).only([BusRule::Own, BusRule::Reconnect]);
    let panic = tokio::spawn(suite.run()).await.expect_err("it breaks a rule").into_panic();
    let said = panic.downcast_ref::<String>().unwrap();
    assert!(
        said.starts_with(
            "the bus breaks the rule Reconnect (a new connection is told, and has all subscriptions): \
             after new connection 1: "
        ),
        "{said}"
    );
}
