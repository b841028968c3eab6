//! Code of the application that uses the server from where the server uses it: closures and values that are dropped or
//! cloned, and wakers. None of it runs under a lock; a test that fails hangs.
#![allow(clippy::unwrap_used, reason = "clippy knows tests, but not their helpers")]

use std::{
    hash::{Hash, Hasher},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::sync::Notify;
use websockets_simple_server::{
    Anonymous, Authenticated, ChannelEventKind, MemoryUsers, Revocation, Server, ServerParams, Tickets,
    UserService, WebsocketServer, WebsocketServerAuth,
};
use websockets_simple_tests::{connected, params, started, within};

/// Runs a closure when it is dropped.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Uses routes and events by name when it is dropped, and counts that.
fn guard(server: &Server<Anonymous>, dropped: &Arc<AtomicUsize>) -> OnDrop<impl Fn() + use<>> {
    let (server, dropped) = (server.clone(), Arc::clone(dropped));
    OnDrop(move || {
        server.route("/other", |_| std::future::ready(())).unwrap();
        assert!(server.unroute("/other"));
        server.register(ChannelEventKind::Connect, "/other", "other", |_| std::future::ready(())).unwrap();
        assert!(server.unregister(ChannelEventKind::Connect, "/other", "other"));
        dropped.fetch_add(1, Ordering::Relaxed);
    })
}

#[test]
fn handlers_of_channels_may_use_the_server_while_they_are_dropped() {
    let server = WebsocketServer::new(ServerParams::mounted());
    let dropped = Arc::new(AtomicUsize::new(0));
    let route = |pattern: &str| {
        let guard = guard(&server, &dropped);
        server.route(pattern, move |_| {
            let _ = &guard;
            std::future::ready(())
        })
    };
    let register = || {
        let guard = guard(&server, &dropped);
        server.register(ChannelEventKind::Disconnect, "/a", "named", move |_| {
            let _ = &guard;
            std::future::ready(())
        })
    };
    route("/a").unwrap();
    route("/a").unwrap_err();
    route("/{").unwrap_err();
    register().unwrap();
    register().unwrap_err();
    assert_eq!(dropped.load(Ordering::Relaxed), 3, "of those that were not added");
    assert!(server.unroute("/a") && server.unregister(ChannelEventKind::Disconnect, "/a", "named"));
    assert_eq!(dropped.load(Ordering::Relaxed), 5);
}

/// What ids of users do when they are cloned or dropped.
type Reentry = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

/// The id of a user that uses the server.
struct Id {
    number: i64,
    reentry: Reentry,
}

impl Id {
    fn reenter(&self) {
        if let Some(reenter) = self.reentry.get() {
            reenter();
        }
    }
}

impl Clone for Id {
    fn clone(&self) -> Self {
        self.reenter();
        Self { number: self.number, reentry: Arc::clone(&self.reentry) }
    }
}

impl Drop for Id {
    fn drop(&mut self) {
        self.reenter();
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Id {}

impl Hash for Id {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.number.hash(hasher);
    }
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.number.fmt(f)
    }
}

#[tokio::test]
async fn the_id_of_a_user_may_use_server_and_service_while_it_is_cloned_or_dropped() {
    let reentry = Reentry::default();
    let id = |number| Id { number, reentry: Arc::clone(&reentry) };
    let (users, tickets) = (MemoryUsers::new(), Tickets::new(Duration::from_secs(60)));
    let server = WebsocketServerAuth::new(ServerParams::local(), users.clone());
    let (known, asked, issued) = (users.clone(), server.clone(), tickets.clone());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let reenter = move || {
        // Not from within itself.
        if counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            assert!(!known.revoke(&"unknown".into()));
            assert!(issued.redeem(&"unknown".into()).is_none());
            asked.revoke(&Revocation::Credential("unknown".to_owned()));
            let _ = (asked.connection_count(), asked.channels());
        }
    };
    users.add("token", id(7));
    users.add("another", id(7));
    let addr = started(&server).await;
    reentry.set(Box::new(reenter)).ok().unwrap();
    let (first, second) =
        (connected(params(addr).token("token")).await, connected(params(addr).token("another")).await);
    assert_eq!(server.identities().len(), 1);
    users.add("another", id(8));
    within(first.disconnect()).await;
    let ticket = tickets.issue(Authenticated::new(id(7)));
    drop(tickets.redeem(&ticket));
    server.revoke(&Revocation::User(id(9)));
    assert_eq!(users.revoke_user(&id(7)), 1);
    within(async {
        while second.is_running() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within(server.stop()).await;
    assert!(calls.load(Ordering::Relaxed) > 10);
}

/// Revokes more when it is woken.
struct Revokes(MemoryUsers<i64>, AtomicUsize, Notify);

impl Wake for Revokes {
    fn wake(self: Arc<Self>) {
        if self.1.fetch_add(1, Ordering::Relaxed) == 0 {
            self.0.revoke_user(&8);
            drop(self.0.revocations());
            self.2.notify_one();
        }
    }
}

#[tokio::test]
async fn who_is_woken_by_a_revocation_may_revoke() {
    let users = MemoryUsers::new();
    let mut revocations = users.revocations().unwrap();
    let woken = Arc::new(Revokes(users.clone(), AtomicUsize::new(0), Notify::new()));
    let waker = Waker::from(Arc::clone(&woken));
    assert!(revocations.as_mut().poll_next(&mut Context::from_waker(&waker)).is_pending());
    users.revoke_user(&7);
    within(woken.2.notified()).await;
    for user in [7, 8] {
        let next = revocations.as_mut().poll_next(&mut Context::from_waker(&waker));
        assert_eq!(next, Poll::Ready(Some(Revocation::User(user))));
    }
}
