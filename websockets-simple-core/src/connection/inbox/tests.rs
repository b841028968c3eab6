use super::*;
use crate::{
    connection::{observer::ControlOutcome, shared::ConnectionShared},
    outbox::{OutboxConfig, OverflowPolicy},
    protocol::Side,
};

/// Does nothing. What it has to do for a control message never ends.
#[derive(Default)]
struct Idle {
    failed: Vec<ErrorStage>,
}

/// A handler of the application that panics when it is dropped, once one was looked up for a message.
#[derive(Default)]
struct DropPanics(bool);

impl Drop for DropPanics {
    fn drop(&mut self) {
        assert!(!self.0, "the drop of a handler");
    }
}

struct Handles(ConnectionShared);

impl AsRef<ConnectionShared> for Handles {
    fn as_ref(&self) -> &ConnectionShared {
        &self.0
    }
}

impl ConnectionObserver for Idle {
    type Connection = Handles;
    type Held = DropPanics;

    fn owner(&self) -> u64 {
        1
    }

    fn connected(&mut self, _at: Moment) -> Option<HandlerFuture> {
        None
    }

    fn received(&mut self, _message: Message, _at: Moment, held: &mut DropPanics) -> Option<HandlerFuture> {
        held.0 = true;
        None
    }

    fn received_part(&mut self, _part: MessagePart, _at: Moment) -> Option<HandlerFuture> {
        None
    }

    fn sent(&mut self, _message: Message, _missed: u64, _at: Moment) -> Option<HandlerFuture> {
        None
    }

    fn control(&mut self, _control: Control, _at: Moment) -> ControlOutcome {
        ControlOutcome::Beside(HandlerFuture::new(std::future::pending()))
    }

    fn failed(&mut self, stage: ErrorStage, _error: EventError, _at: Moment) -> Option<HandlerFuture> {
        self.failed.push(stage);
        None
    }

    fn overdue(&mut self) -> Option<HandlerFuture> {
        None
    }

    fn released(&mut self) {}

    fn disconnected(&mut self, _end: Disconnect, _at: Moment) -> Option<HandlerFuture> {
        None
    }
}

fn outbox() -> Outbox {
    Outbox::new(Side::Server, OutboxConfig::new(1 << 20, OverflowPolicy::Disconnect))
}

#[test]
fn a_handler_whose_drop_panics_when_it_is_let_go_of_is_an_error_event_of_the_next_poll() {
    let mut inbox = Inbox::new(Idle::default());
    inbox.message(Message::text("x"), Moment::now());
    let outbox = outbox();
    let mut poll = || inbox.poll(&outbox, &mut Context::from_waker(Waker::noop()));
    assert_eq!([poll(), poll()], [Poll::Pending, Poll::Ready(())]);
    assert!(inbox.has_panicked());
    assert_eq!(inbox.observer.failed, [ErrorStage::HandlerPanic]);
}

#[test]
fn control_messages_that_wait_are_bounded_to_the_byte_and_one_that_is_handled_waits_no_more() {
    let mut inbox = Inbox::new(Idle::default());
    let at = Moment::now();
    let add = |inbox: &mut Inbox<Idle>, size| inbox.control(Control::Hello, size, at);
    for _ in 0..2 {
        assert!(add(&mut inbox, CONTROL_BYTES));
        assert!(!add(&mut inbox, 1));
        inbox.give_up();
    }
    assert!(add(&mut inbox, CONTROL_BYTES));
    assert!(inbox.poll(&outbox(), &mut Context::from_waker(Waker::noop())).is_ready());
    assert!(add(&mut inbox, CONTROL_BYTES), "the first is being handled");
    assert!(!add(&mut inbox, 1));
}

#[test]
fn every_owner_has_a_number_of_its_own() {
    assert_ne!(new_owner(), new_owner());
}

#[test]
fn an_empty_queue_leaves_its_memory_to_the_next_and_a_long_one_gives_it_back() {
    let queue = |capacity| Box::new(Queue { items: VecDeque::with_capacity(capacity), bytes: 0 });
    let spare = || SPARE.take().map_or(0, |queue| queue.items.capacity());
    lend(queue(SPARE_PLACES));
    assert_eq!(spare(), SPARE_PLACES);
    lend(queue(SPARE_PLACES + 1));
    assert_eq!(spare(), 0);
}
