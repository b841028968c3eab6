use std::time::Duration;

use bytes::Bytes;

use super::*;

mod model;

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it takes too long")
}

fn subject(name: &str) -> Subject {
    Subject::new(name)
}

fn publish(port: &BusPort, message: &'static str) -> Result<(), PublishError> {
    port.publish(&subject("a"), message.into())
}

fn told(port: &BusPort) -> Vec<BusEvent> {
    std::iter::from_fn(|| port.try_next_event()).collect()
}

fn to_do(link: &mut BusLink) -> Vec<BusCommand> {
    std::iter::from_fn(|| link.try_next()).collect()
}

#[test]
fn nothing_is_taken_before_there_is_a_connection_nor_after_it() {
    let port = BusPort::new(1024, 1024);
    assert_eq!(publish(&port, "1"), Err(PublishError::Down));
    let mut link = port.link();
    assert_eq!(publish(&port, "2"), Err(PublishError::Down));
    link.up(10);
    assert_eq!(publish(&port, "3"), Ok(()));
    link.down("gone");
    assert_eq!(publish(&port, "4"), Err(PublishError::Down));
    link.up(10);
    assert_eq!(to_do(&mut link), [], "what was queued is lost with its connection");
}

#[test]
fn what_is_queued_is_bounded_in_bytes_and_a_message_by_what_the_bus_takes() {
    let port = BusPort::new(2 * (OVERHEAD + 1 + 5), 1024);
    let mut link = port.link();
    link.up(5);
    assert_eq!(publish(&port, "123456"), Err(PublishError::TooLarge));
    assert_eq!([publish(&port, "12345"), publish(&port, "12345")], [Ok(()), Ok(())]);
    assert_eq!(publish(&port, ""), Err(PublishError::Full));
    assert!(link.try_next().is_some());
    assert_eq!(publish(&port, "12345"), Ok(()));
}

#[test]
fn each_connection_is_told_what_is_subscribed_to_before_anything_else() {
    let port = BusPort::new(1024, 1024);
    let mut link = port.link();
    port.subscribe(&subject("a"));
    port.subscribe(&subject("b"));
    port.subscribe(&subject("b"));
    port.unsubscribe(&subject("a"));
    assert_eq!(to_do(&mut link), [], "there is no connection");
    link.up(10);
    publish(&port, "1").unwrap();
    port.subscribe(&subject("c"));
    port.unsubscribe(&subject("c"));
    port.unsubscribe(&subject("never"));
    let message = BusCommand::Publish { subject: subject("a"), message: "1".into() };
    let c = [BusCommand::Subscribe(subject("c")), BusCommand::Unsubscribe(subject("c"))];
    let expected = [&[BusCommand::Subscribe(subject("b")), message], &c[..]].concat();
    assert_eq!(to_do(&mut link), expected);
    link.up(10);
    assert_eq!(to_do(&mut link), [BusCommand::Subscribe(subject("b"))]);
}

#[test]
fn a_bus_that_takes_no_subscriptions_is_told_all_of_them_again() {
    let port = BusPort::new(1024, 1024);
    let mut link = port.link();
    link.up(10);
    for _ in 0..100 {
        port.subscribe(&subject("a"));
        port.unsubscribe(&subject("a"));
    }
    assert_eq!(link.try_next(), Some(BusCommand::Reconnect));
    link.up(10);
    assert_eq!(to_do(&mut link), []);
}

#[test]
fn the_end_comes_behind_what_is_queued_and_stays() {
    let port = BusPort::new(1024, 1024);
    let mut link = port.link();
    link.up(10);
    publish(&port, "1").unwrap();
    port.close();
    assert!(link.is_closing());
    assert!(matches!(link.try_next(), Some(BusCommand::Publish { .. })));
    assert_eq!([link.try_next(), link.try_next()], [Some(BusCommand::Close), Some(BusCommand::Close)]);
    assert_eq!(port.link().try_next(), None, "another link begins anew");
}

#[test]
fn what_is_heard_beyond_the_bound_is_counted_and_told_before_the_rest() {
    let port = BusPort::new(1024, 2 * (OVERHEAD + 1));
    let link = port.link();
    link.up(10);
    for message in ["1", "2", "3", "4"] {
        link.deliver(message.into());
    }
    link.inbox().missed(5);
    let message = |text: &'static str| BusEvent::Message(text.into());
    assert_eq!(told(&port), [BusEvent::Up, BusEvent::Missed(7), message("1"), message("2")]);
    link.deliver("5".into());
    assert_eq!(told(&port), [message("5")]);
}

#[test]
fn of_several_changes_the_last_one_is_told_and_no_connection_passes_for_the_one_before() {
    let port = BusPort::new(1024, 1024);
    let link = port.link();
    let down = |why: &str| BusEvent::Down(why.into());
    assert_eq!(told(&port), []);
    link.down("refused");
    assert_eq!(told(&port), [down("refused")]);
    link.up(10);
    link.down("lost");
    link.up(10);
    assert_eq!(told(&port), [BusEvent::Up]);
    link.down("lost");
    link.up(10);
    assert_eq!(told(&port), [down("the connection was replaced"), BusEvent::Up]);
    drop(link);
    assert_eq!(told(&port), [down(NOT_RUNNING)]);
}

#[test]
fn a_link_that_was_replaced_says_and_does_nothing_more() {
    let port = BusPort::new(1024, 1024);
    let mut old = port.link();
    let new = port.link();
    new.up(10);
    old.up(1);
    old.deliver("old".into());
    old.inbox().missed(1);
    assert!(old.is_closing());
    assert_eq!(old.try_next(), Some(BusCommand::Close));
    drop(old);
    assert_eq!(told(&port), [BusEvent::Up]);
    assert_eq!(publish(&port, "larger"), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_was_replaced_ends_and_takes_no_wake_up_of_the_new_one() {
    let port = BusPort::new(1024, 1024);
    let (mut old, waits) = (port.link(), tokio::sync::oneshot::channel());
    let ended = tokio::spawn(async move {
        let _ = waits.0.send(());
        old.next().await
    });
    waits.1.await.unwrap();
    tokio::task::yield_now().await;
    let mut new = port.link();
    assert_eq!(within(ended).await.unwrap(), BusCommand::Close);
    let waiting = tokio::spawn(async move { new.next().await });
    tokio::task::yield_now().await;
    port.reconnect();
    assert_eq!(within(waiting).await.unwrap(), BusCommand::Reconnect);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_dropped_ends_its_bus() {
    let port = BusPort::new(1024, 1024);
    let mut link = port.link();
    drop(port);
    within(link.closing()).await;
    assert_eq!(link.next().await, BusCommand::Close);
}

#[test]
fn a_new_connection_is_not_asked_for_because_there_are_many_subscriptions() {
    let port = BusPort::new(1024, 1024);
    let mut link = port.link();
    (0..1000).for_each(|number| port.subscribe(&subject(&format!("s{number}"))));
    link.up(10);
    assert_eq!(publish(&port, "1"), Ok(()), "subscriptions take no room of messages");
    port.subscribe(&subject("one more"));
    let commands = to_do(&mut link);
    assert_eq!(commands.len(), 1002);
    assert!(!commands.contains(&BusCommand::Reconnect));
}

#[test]
fn a_bus_that_takes_nothing_is_not_told_without_bound() {
    let port = BusPort::new(1024, 1024);
    let mut link = port.link();
    link.up(10);
    for number in 0..1000 {
        port.subscribe(&subject(&format!("s{number}")));
        let out = port.0.out();
        assert!(out.changes <= 1024, "{} bytes after {number}", out.changes);
    }
    assert_eq!(publish(&port, "1"), Err(PublishError::Down), "its connection is given up");
    assert_eq!(to_do(&mut link), [BusCommand::Reconnect]);
    link.up(10);
    assert_eq!(to_do(&mut link).len(), 1000);
}

#[test]
fn what_is_dropped_may_use_the_port() {
    struct Message(Arc<BusPort>);
    impl AsRef<[u8]> for Message {
        fn as_ref(&self) -> &[u8] {
            b"1"
        }
    }
    impl Drop for Message {
        fn drop(&mut self) {
            self.0.subscribe(&subject("dropped"));
            let _ = self.0.try_next_event();
        }
    }
    let port = Arc::new(BusPort::new(1024, OVERHEAD + 1));
    let message = || Bytes::from_owner(Message(Arc::clone(&port)));
    let link = port.link();
    link.up(10);
    assert_eq!(port.publish(&subject("a"), message()), Ok(()));
    link.down("lost");
    assert_eq!(port.publish(&subject("a"), message()), Err(PublishError::Down));
    link.deliver("1".into());
    link.deliver(message());
    assert_eq!(port.subscriptions(), 1);
}

#[test]
fn bounds_and_counts_do_not_overflow() {
    let port = BusPort::new(usize::MAX, usize::MAX);
    let link = port.link();
    link.up(usize::MAX);
    publish(&port, "1").unwrap();
    port.subscribe(&subject("a"));
    link.inbox().missed(u64::MAX);
    link.inbox().missed(u64::MAX);
    assert_eq!(told(&port), [BusEvent::Up, BusEvent::Missed(u64::MAX)]);
}

#[test]
fn after_the_end_was_asked_for_nothing_is_queued() {
    let port = BusPort::new(1024, 1024);
    let mut link = port.link();
    link.up(10);
    port.close();
    port.subscribe(&subject("a"));
    assert_eq!(publish(&port, "1"), Err(PublishError::Down));
    assert_eq!(link.try_next(), Some(BusCommand::Close));
}

#[tokio::test(start_paused = true)]
async fn what_is_urgent_is_heard_past_what_is_queued_which_stays() {
    let port = BusPort::new(1024, 1024);
    let mut link = port.link();
    link.up(10);
    publish(&port, "1").unwrap();
    let nothing = tokio::time::timeout(Duration::from_millis(20), link.urgent()).await;
    assert!(nothing.is_err(), "it took {nothing:?}");
    port.close();
    assert_eq!(
        [within(link.urgent()).await, within(link.urgent()).await],
        [BusCommand::Close, BusCommand::Close]
    );
    assert!(matches!(link.next().await, BusCommand::Publish { .. }));
    assert_eq!(link.next().await, BusCommand::Close);
    let mut link = port.link();
    link.up(10);
    publish(&port, "2").unwrap();
    port.reconnect();
    assert_eq!(within(link.urgent()).await, BusCommand::Reconnect);
    assert_eq!(link.try_next(), None, "what was queued is lost with the connection that is given up");
}
