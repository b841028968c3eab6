//! What happened, and who is told.

pub use disconnect::{Disconnect, EndedBy};
pub use event::{
    Attempt, ConnectionEvent, ConnectionEventKind, Direction, ErrorEvent, ErrorStage, EventError, EventId,
    MessageEvent,
};
pub use handler_future::HandlerFuture;
pub use moment::Moment;
pub use subscription::{
    Dispatcher, Events, Flow, Handler, Observable, SubscribeOptions, Subscriber, Subscription,
    SubscriptionGuard, Subscriptions,
};

mod byte_semaphore;
mod disconnect;
mod event;
mod handler_future;
mod moment;
mod subscription;
