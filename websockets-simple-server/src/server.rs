//! `Server<I>`, and its two public aliases.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use http::Request;
use websockets_simple_core::{Message, Subscriptions, WithState};

use crate::{
    addressing::Placement,
    config::ServerParams,
    connection::{Connection, Event, Inbound, ServerEventKind, StopReport},
    http::Upgrade,
    net::HandshakeRequest,
    run::{self, Drain, Shared, StartError, StopWaiter},
    users::{Admission, AdmitAll, AdmitUsers, Anonymous, Authenticated, Identity, User, UserId, UserService},
};

pub(crate) use caller::peer_addr;
#[cfg(feature = "cluster")]
pub use cluster::{ChannelPresence, Cluster, ClusterStatus, Member, Presence, Seen};
pub use serve::Serve;
pub use users::ConnectedUser;

mod addressing;
mod caller;
#[cfg(feature = "cluster")]
mod cluster;
mod figures;
mod serve;
mod signals;
mod users;

/// A WebSocket server, either without users ([`WebsocketServer`]) or with users ([`WebsocketServerAuth`]).
///
/// A value is a handle, and its clones are handles to the same server. When the last handle is dropped, the server
/// stops as with [`stop`](Self::stop).
///
/// The life of a server: [`new`](WebsocketServer::new), [`on`](Self::on) or [`events`](Self::events),
/// [`start`](Self::start), [`stop`](Self::stop), and `start` again. Subscriptions survive a stop, and an endpoint with
/// port 0 keeps the port that the system chose.
pub struct Server<I: Identity> {
    shared: Arc<Shared<I>>,
}

/// A server that admits all clients.
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{ServerParams, WebsocketServer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = WebsocketServer::new(ServerParams::local());
/// server.on_message(|connection, message| async move {
///     let _ = connection.send(message).await;
/// });
/// server.start().await?;
/// println!("listening on {}", server.local_addr().expect("it runs"));
/// server.stop().await;
/// # Ok(()) }
/// ```
pub type WebsocketServer = Server<Anonymous>;

/// A server whose connections belong to users with ids of type `T`, authenticated by a [`UserService`].
///
/// # Examples
///
/// ```
/// use websockets_simple_server::{MemoryUsers, ServerParams, WebsocketServerAuth};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let users = MemoryUsers::new();
/// users.add("a secret of at least 128 bit", 7_i64);
/// let server = WebsocketServerAuth::<i64>::new(ServerParams::local(), users);
/// server.start().await?;
/// server.to_user(&7).send_text("hello on every device")?;
/// assert!(!server.is_user_connected(&7));
/// server.stop().await;
/// # Ok(()) }
/// ```
pub type WebsocketServerAuth<T> = Server<User<T>>;

impl WebsocketServer {
    /// Makes a server that admits all clients. Opens no socket yet.
    #[must_use]
    pub fn new(params: ServerParams) -> Self {
        Self::with_admission(params, Box::new(AdmitAll))
    }
}

impl<T: UserId> WebsocketServerAuth<T> {
    /// Makes a server that admits clients which the user service authenticates. Opens no socket yet.
    #[must_use]
    pub fn new(params: ServerParams, users: impl UserService<Id = T>) -> Self {
        Self::with_admission(params, Box::new(AdmitUsers::new(users)))
    }
}

impl<I: Identity> Server<I> {
    fn with_admission(params: ServerParams, admission: Box<dyn Admission<I>>) -> Self {
        Self { shared: Arc::new(Shared::new(params, admission)) }
    }

    pub(crate) fn of(shared: &Arc<Shared<I>>) -> Self {
        shared.handles.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(shared) }
    }

    /// Sets a hook for received messages, before their events are raised: it can deliver, replace or drop a message, or
    /// close the connection. It runs in the connection's task and must not block. Only the first hook is used. It is not
    /// asked about [parts](ServerParams::message_parts) of messages.
    #[must_use]
    pub fn with_inbound(
        self,
        hook: impl Fn(&Connection<I>, Message) -> Inbound + Send + Sync + 'static,
    ) -> Self {
        let _ = self.shared.inbound.set(Box::new(hook));
        self
    }

    /// Sets a hook that chooses the channel, groups and id of each connection before its handshake is answered. It is
    /// called after the user was authenticated, runs in the connection's task and must not block. If it panics, the
    /// client is refused with 500. Only the first hook is used.
    #[must_use]
    pub fn with_placement(
        self,
        hook: impl Fn(&HandshakeRequest<'_>, Option<&Authenticated<I::Id>>) -> Placement + Send + Sync + 'static,
    ) -> Self {
        let _ = self.shared.placement.set(Box::new(hook));
        self
    }

    /// Sets a function that makes the span of `tracing` in which a handshake is decided on, instead of `ws.handshake`: from
    /// its Connecting event over the user service and the placement to the answer. There it can be given a parent, as with
    /// `OpenTelemetrySpanExt::set_parent` from the headers of the request, in which the token is not. If it has the fields
    /// `connection` and `refused`, they are recorded. It must not block. If it panics, the client is refused with
    /// 500. Only the first function is used.
    ///
    /// Without it, `ws.handshake` has the level `INFO`, the target `websockets_simple_server`, and the fields `channel`,
    /// `client`, `trace_id` and `parent_id` (of a `traceparent` of the request, W3C Trace Context), and `connection` (the
    /// id that it has become) or `refused` (the [label](crate::figures::RefusalReason::label) of the reason).
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{ServerParams, WebsocketServer};
    ///
    /// let server = WebsocketServer::new(ServerParams::local()).with_handshake_span(|request| {
    ///     tracing::info_span!("sign_in", tenant = request.head().header("x-tenant"), refused = tracing::field::Empty)
    /// });
    /// ```
    #[must_use]
    pub fn with_handshake_span(
        self,
        make: impl Fn(&HandshakeRequest<'_>) -> tracing::Span + Send + Sync + 'static,
    ) -> Self {
        let _ = self.shared.handshake_span.set(Box::new(make));
        self
    }

    /// Sets a rule that decides which groups of their channel clients may join and leave by themselves, with
    /// `WebsocketClient::join` or with a control message. Without a rule they may not. Names have 1 to 128 bytes and no
    /// control characters; [`Limits::groups_per_connection`] limits the number of groups.
    ///
    /// It runs in the connection's task and must not block. It does not wait for handlers: the handler of the
    /// `Connected` event may still be running. Only the first rule is used.
    ///
    /// [`Limits::groups_per_connection`]: crate::Limits::groups_per_connection
    ///
    /// # Examples
    ///
    /// ```
    /// use websockets_simple_server::{ServerParams, WebsocketServer};
    ///
    /// let server = WebsocketServer::new(ServerParams::local())
    ///     .with_group_rule(|connection, group| connection.channel() == "/news" && group.starts_with("topic:"));
    /// server.to_group("/news", "topic:rust").send_text("for those who have joined it")?;
    /// # Ok::<(), websockets_simple_server::BroadcastError>(())
    /// ```
    #[must_use]
    pub fn with_group_rule(
        self,
        rule: impl Fn(&Connection<I>, &str) -> bool + Send + Sync + 'static,
    ) -> Self {
        let _ = self.shared.group_rule.set(Box::new(rule));
        self
    }

    websockets_simple_core::subscribe_methods!(Event<I>, Connection<I>);

    /// Adds handlers that share a value of the application: each call gets a clone of it, so it is usually an [`Arc`].
    /// The value is not the server's: other handlers can share another one.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use websockets_simple_server::{Anonymous, Connection, Message, ServerParams, WebsocketServer};
    ///
    /// #[derive(Default)]
    /// struct Chat { history: Mutex<Vec<Message>> }
    ///
    /// impl Chat {
    ///     async fn say(self: Arc<Self>, connection: Connection<Anonymous>, message: Message) {
    ///         self.history.lock().unwrap().push(message.clone());
    ///         let _ = connection.server().broadcast(message);
    ///     }
    /// }
    ///
    /// let server = WebsocketServer::new(ServerParams::local());
    /// let handlers = server.with_state(Arc::new(Chat::default()));
    /// handlers.on_connect(|chat, connection| async move {
    ///     let missed = chat.history.lock().unwrap().len();
    ///     let _ = connection.send_text(format!("{missed} messages were sent before")).await;
    /// });
    /// handlers.on_message(Chat::say);
    /// ```
    #[must_use = "it adds no handler by itself"]
    pub fn with_state<S: Clone + Send + Sync + 'static>(&self, state: S) -> WithState<Event<I>, S> {
        WithState::new(Arc::clone(&self.shared.subscriptions), state)
    }

    fn subscriptions(&self) -> &Arc<Subscriptions<Event<I>>> {
        &self.shared.subscriptions
    }

    /// Wakes all connections, each of which replays its Connected in its own task.
    fn wake_for_replay(&self) {
        for connection in self.shared.registry.all().iter().chain(&self.shared.unlisted.all()) {
            connection.0.core.outbox.wake_driver();
        }
    }

    /// Binds all endpoints and begins to accept connections. When this returns, clients can connect.
    ///
    /// # Errors
    ///
    /// [`StartError`] if the server is already running, a parameter is invalid, the runtime lacks a driver, or an
    /// endpoint cannot be bound. The state of the server is then unchanged.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it resolves, the server may or may not have started; `stop` stops it.
    pub async fn start(&self) -> Result<(), StartError> {
        let addrs = run::start(&self.shared).await?;
        tracing::info!(?addrs, "listening");
        self.shared.subscriptions.raise(Event::server(ServerEventKind::Started(addrs))).await;
        Ok(())
    }

    /// Stops the server: new connections are not accepted, pending handshakes are refused with 503, connections are
    /// closed with 1001 after their queued messages, and handlers finish. Handlers that have not finished at the stop
    /// timeout are dropped. Resolves when all that is done, with a report.
    ///
    /// A handler may call this, and so may a hook or a service: the stop then does not wait for that one. A start that
    /// is under way in another task ends first: then the server stops at once.
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled, the server stops even if the future is dropped.
    pub async fn stop(&self) -> StopReport {
        self.stop_with(Drain::default()).await
    }

    /// Stops the server like [`stop`](Self::stop), and says how the open connections are closed: over how long their clients
    /// come back, and in which batches. The stop timeout begins when the last batch is closed. Another stop with batches,
    /// while one is under way, waits for that one; a [`stop`](Self::stop) has all others closed at once.
    ///
    /// # Cancel safety
    ///
    /// Once the future was polled, the server stops as it was told to, even if the future is dropped.
    pub async fn stop_with(&self, drain: Drain) -> StopReport {
        let Some(mut run) = self.shared.stop_handle() else { return StopReport::default() };
        run.stop.begin_with(drain);
        let _waiter = StopWaiter::inside(&self.shared);
        match run.report.wait_for(Option::is_some).await {
            Ok(report) => report.unwrap_or_default(),
            // The start failed, or the runtime is shutting down, and the server with it.
            Err(_) => StopReport::default(),
        }
    }

    /// Upgrades a request to an HTTP server of the application to a connection of this server. That may be hyper, axum,
    /// or another server on top of hyper that keeps `OnUpgrade` in the request's extensions. Await the returned value
    /// to get the response.
    ///
    /// Limits, events and the stop apply as on the server's own endpoints; the default heartbeat is a ping frame. The
    /// server must be running, but needs no endpoint ([`ServerParams::mounted`]).
    ///
    /// # Examples
    ///
    /// ```
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use hyper::{body::{Bytes, Incoming}, server::conn::http1, service::service_fn};
    /// use hyper_util::rt::TokioIo;
    /// use tokio::net::TcpListener;
    /// use websockets_simple_server::{ServerParams, WebsocketServer};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = WebsocketServer::new(ServerParams::mounted());
    /// server.start().await?;
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let addr = listener.local_addr()?;
    /// let web = async {
    ///     let (stream, peer) = listener.accept().await?;
    ///     let service = service_fn(|request: Request<Incoming>| {
    ///         let server = &server;
    ///         async move {
    ///             Ok::<_, std::convert::Infallible>(match request.uri().path() {
    ///                 "/ws" => server.upgrade(request).peer_addr(peer).await,
    ///                 _ => Response::new(Full::new(Bytes::from("a page"))),
    ///             })
    ///         }
    ///     });
    ///     let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    ///     connection.with_upgrades().await?;
    ///     Ok::<_, Box<dyn std::error::Error>>(())
    /// };
    /// # let client = async {
    /// #     use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// #     let mut stream = tokio::net::TcpStream::connect(addr).await?;
    /// #     stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
    /// #     let mut page = String::new();
    /// #     stream.read_to_string(&mut page).await?;
    /// #     assert!(page.ends_with("a page"), "{page}");
    /// #     Ok(())
    /// # };
    /// # tokio::try_join!(web, client)?;
    /// # Ok(()) }
    /// ```
    pub fn upgrade<B>(&self, request: Request<B>) -> Upgrade<I> {
        Upgrade::new(Arc::clone(&self.shared), request.into_parts().0)
    }

    /// Whether the server accepts connections.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.run().is_some_and(|run| !run.handle.stop.has_begun())
    }

    /// The address of the first TCP endpoint, while the server runs.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addrs().first().copied()
    }

    /// The addresses of all TCP endpoints, while the server runs. The paths of Unix domain sockets are those in the
    /// parameters.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.shared.run().map(|run| run.addrs).unwrap_or_default()
    }
}

impl<I: Identity> Clone for Server<I> {
    fn clone(&self) -> Self {
        Self::of(&self.shared)
    }
}

impl<I: Identity> Drop for Server<I> {
    fn drop(&mut self) {
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(run) = self.shared.stop_handle()
        {
            run.stop.begin();
        }
    }
}

impl<I: Identity> fmt::Debug for Server<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("running", &self.is_running())
            .field("local_addrs", &self.local_addrs())
            .field("connections", &self.connection_count())
            .finish_non_exhaustive()
    }
}
