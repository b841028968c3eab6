//! A driver over a pipe, with a peer made of raw bytes, under a paused clock.

mod closing;
#[cfg(feature = "deflate")]
mod compression;
mod control;
mod dotnet;
mod handlers;
mod heartbeat;
mod life;
mod limits;
mod parts;
mod peer;
mod probe;
mod reading;

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
    task::Waker,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::watch,
    task::JoinHandle,
    time::Sleep,
};

use super::*;
use crate::{
    connection::observer::ControlOutcome,
    events::{GroupChange, HandlerFuture},
    outbox::{OutboxConfig, OverflowPolicy, SendError},
    protocol::{CloseCode, Control, MessagePart, Side},
};

use peer::{Peer, frame};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

/// Passes at once under a paused clock, so that a test that waits in vain fails instead of hanging.
const FOR_EVER: Duration = Duration::from_secs(86400);

/// What the handles of a test share.
#[derive(Debug)]
struct Shared(ConnectionShared);

impl AsRef<ConnectionShared> for Shared {
    fn as_ref(&self) -> &ConnectionShared {
        &self.0
    }
}

impl std::ops::Deref for Shared {
    type Target = ConnectionShared;

    fn deref(&self) -> &ConnectionShared {
        &self.0
    }
}

/// A call that the observer got.
#[derive(Clone, Debug)]
enum Call {
    Connected,
    Control(String),
    Received(Message),
    Part(MessagePart),
    Sent(Message, u64),
    Failed(ErrorStage, String),
    Released,
    GroupChanged(String),
    Disconnected(Disconnect),
}

type OnMessage = Box<dyn FnMut(Message, &Arc<Shared>) -> Option<HandlerFuture> + Send>;

/// Remembers every call, and answers messages as a test wants.
struct Recorder {
    shared: Arc<Shared>,
    calls: watch::Sender<Vec<Call>>,
    on_message: OnMessage,
    on_control: Option<HandlerFuture>,
    /// What is overdue once Disconnected waits.
    before_end: Option<HandlerFuture>,
    /// Looks for what is overdue since the transport is released.
    looks: Option<usize>,
    on_end: Option<HandlerFuture>,
}

impl Recorder {
    fn record(&self, call: Call) {
        self.calls.send_modify(|calls| calls.push(call));
    }
}

impl ConnectionObserver for Recorder {
    type Connection = Shared;
    type Held = ();

    fn owner(&self) -> u64 {
        1
    }

    fn connected(&mut self, _at: Moment) -> Option<HandlerFuture> {
        self.record(Call::Connected);
        None
    }

    fn received(&mut self, message: Message, _at: Moment, _: &mut ()) -> Option<HandlerFuture> {
        self.record(Call::Received(message.clone()));
        (self.on_message)(message, &self.shared)
    }

    fn received_part(&mut self, part: MessagePart, _at: Moment) -> Option<HandlerFuture> {
        self.record(Call::Part(part.clone()));
        (self.on_message)(part.payload, &self.shared)
    }

    fn sent(&mut self, message: Message, missed: u64, _at: Moment) -> Option<HandlerFuture> {
        self.record(Call::Sent(message, missed));
        None
    }

    fn control(&mut self, control: Control, _at: Moment) -> ControlOutcome {
        self.record(Call::Control(format!("{control:?}")));
        match control {
            Control::Leave(group) => ControlOutcome::InTurn(GroupChange { group, joined: false }),
            _ => self.on_control.take().map_or(ControlOutcome::Done, ControlOutcome::Beside),
        }
    }

    fn group_changed(&mut self, change: GroupChange, _at: Moment) -> Option<HandlerFuture> {
        self.record(Call::GroupChanged(change.group.as_str().to_owned()));
        None
    }

    fn failed(&mut self, stage: ErrorStage, error: EventError, _at: Moment) -> Option<HandlerFuture> {
        self.record(Call::Failed(stage, error.to_string()));
        None
    }

    fn overdue(&mut self) -> Option<HandlerFuture> {
        let looks = self.looks.as_mut()?;
        *looks += 1;
        // At the first there is no other event yet.
        if *looks > 1 { self.before_end.take() } else { None }
    }

    fn released(&mut self) {
        self.looks = Some(0);
        self.record(Call::Released);
    }

    fn disconnected(&mut self, end: Disconnect, _at: Moment) -> Option<HandlerFuture> {
        self.record(Call::Disconnected(end));
        self.on_end.take()
    }
}

/// What a test chooses about a driver before it runs.
struct Plan {
    config: ConnectionConfig,
    heartbeat: Heartbeat,
    outbox: OutboxConfig,
    /// Bytes that the pipe holds each way.
    pipe: usize,
    over: Option<Transport>,
    leftover: Vec<u8>,
    hello: bool,
    parts: Option<MessageParts>,
    /// Whether each poll has another waker, and those of earlier ones do nothing.
    new_wakers: bool,
    on_message: OnMessage,
    /// The work that the first control message makes.
    on_control: Option<HandlerFuture>,
    before_end: Option<HandlerFuture>,
    on_end: Option<HandlerFuture>,
}

impl Plan {
    fn new(side: Side) -> Self {
        Self {
            config: ConnectionConfig::new(side),
            heartbeat: Heartbeat::off(),
            outbox: OutboxConfig::new(1 << 20, OverflowPolicy::Disconnect),
            pipe: 1 << 20,
            over: None,
            leftover: Vec::new(),
            hello: false,
            parts: None,
            new_wakers: false,
            on_message: Box::new(|_, _| None),
            on_control: None,
            before_end: None,
            on_end: None,
        }
    }

    fn server() -> Self {
        Self::new(Side::Server)
    }

    fn client() -> Self {
        Self::new(Side::Client)
    }

    fn heartbeat(mut self, seconds: u64, mode: crate::connection::heartbeat::HeartbeatMode) -> Self {
        self.heartbeat = Heartbeat::new(Duration::from_secs(seconds), mode);
        self
    }

    fn config(mut self, change: impl FnOnce(&mut ConnectionConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// What the handler does with each message.
    fn on_message<F>(mut self, mut f: impl FnMut(Message, Arc<Shared>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.on_message =
            Box::new(move |message, shared| Some(HandlerFuture::new(f(message, Arc::clone(shared)))));
        self
    }

    /// Each message keeps the handler busy this long.
    fn busy(self, seconds: u64) -> Self {
        self.on_message(move |_, _| tokio::time::sleep(Duration::from_secs(seconds)))
    }

    fn run(self) -> Rig {
        self.run_after(|_| {})
    }

    /// Runs the driver over another stream than the pipe.
    fn run_over(
        mut self,
        stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    ) -> Rig {
        self.over = Some(Transport::shared(stream));
        self.run()
    }

    /// Runs the driver after `before` has run.
    fn run_after(self, before: impl FnOnce(&ConnectionShared)) -> Rig {
        let side = self.config.side;
        let shared = Arc::new(Shared(ConnectionShared::new(side, self.outbox)));
        before(&shared);
        let (calls, seen) = watch::channel(Vec::new());
        let recorder = Recorder {
            shared: Arc::clone(&shared),
            calls,
            on_message: self.on_message,
            on_control: self.on_control,
            before_end: self.before_end,
            looks: None,
            on_end: self.on_end,
        };
        let (near, far) = tokio::io::duplex(self.pipe);
        let transport = self.over.unwrap_or_else(|| Transport::shared(near));
        let driver = ConnectionDriver::new(
            transport,
            &self.leftover,
            Arc::clone(&shared),
            Arc::new(self.config),
            self.heartbeat,
            recorder,
        );
        let driver = if self.hello { driver.with_hello() } else { driver }.with_message_parts(self.parts);
        let peer = Peer { stream: far, masks: side == Side::Server };
        let task = if self.new_wakers { tokio::spawn(with_new_wakers(driver)) } else { tokio::spawn(driver) };
        Rig { peer, shared, seen, task, begun: Instant::now() }
    }
}

/// Polls with a waker of its own each time. Those of earlier polls wake nothing, as if the driver had moved on to another
/// task.
async fn with_new_wakers(driver: ConnectionDriver<Recorder>) -> Disconnect {
    struct Latest {
        task: Waker,
        number: usize,
        latest: Arc<AtomicUsize>,
    }
    impl std::task::Wake for Latest {
        fn wake(self: Arc<Self>) {
            if self.number == self.latest.load(Ordering::SeqCst) {
                self.task.wake_by_ref();
            }
        }
    }
    let latest = Arc::new(AtomicUsize::new(0));
    let mut driver = std::pin::pin!(driver);
    std::future::poll_fn(|cx| {
        let number = latest.fetch_add(1, Ordering::SeqCst) + 1;
        let waker =
            Waker::from(Arc::new(Latest { task: cx.waker().clone(), number, latest: Arc::clone(&latest) }));
        driver.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}

/// A running driver, and what can be seen of it.
struct Rig {
    peer: Peer,
    shared: Arc<Shared>,
    seen: watch::Receiver<Vec<Call>>,
    task: JoinHandle<Disconnect>,
    begun: Instant,
}

impl Rig {
    /// Waits until the calls so far are as wanted.
    async fn until(&self, wanted: impl Fn(&[Call]) -> bool) {
        let mut seen = self.seen.clone();
        let found = tokio::time::timeout(FOR_EVER, seen.wait_for(|calls| wanted(calls)));
        let calls = || self.seen.borrow().clone();
        assert!(found.await.is_ok_and(|found| found.is_ok()), "never came: {:?}", calls());
    }

    async fn until_received(&self, number: usize) {
        self.until(|calls| texts(calls).len() >= number).await;
    }

    fn received(&self) -> Vec<String> {
        texts(&self.seen.borrow())
    }

    fn errors(&self) -> Vec<ErrorStage> {
        let stage = |call: &Call| match call {
            Call::Failed(stage, text) => {
                assert!(!text.is_empty());
                Some(*stage)
            }
            _ => None,
        };
        self.seen.borrow().iter().filter_map(stage).collect()
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn close(&self, code: CloseCode, reason: &str) {
        assert!(self.shared.outbox.close(EndCause::closed(code, reason)));
    }

    /// Waits for the end, which is the one Disconnected call, the last call, and after Released.
    async fn end(&mut self) -> Disconnect {
        let end = tokio::time::timeout(FOR_EVER, &mut self.task).await.expect("no end for a day");
        let end = end.expect("the driver itself never panics");
        let calls = self.seen.borrow().clone();
        let told: Vec<_> = calls.iter().filter(|call| matches!(call, Call::Disconnected(_))).collect();
        assert!(matches!(told[..], [Call::Disconnected(told)] if *told == end), "{calls:?}");
        assert!(matches!(calls.last(), Some(Call::Disconnected(_))), "{calls:?}");
        assert!(calls.iter().any(|call| matches!(call, Call::Released)));
        assert_eq!(self.shared.end(), Some(&end));
        end
    }
}

/// What the handler got, text and binary alike.
fn texts(calls: &[Call]) -> Vec<String> {
    let text = |call: &Call| match call {
        Call::Received(message) => Some(String::from_utf8_lossy(message.as_bytes()).into_owned()),
        _ => None,
    };
    calls.iter().filter_map(text).collect()
}
