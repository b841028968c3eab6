//! What happened, and who is told.

pub use disconnect::{Disconnect, EndedBy};
pub use end_cause::EndCause;
pub use event::{
    Attempt, ConnectionEvent, ConnectionEventKind, Direction, ErrorEvent, ErrorStage, EventError, EventId,
    MessageEvent,
};
pub use handler_future::HandlerFuture;
pub use moment::Moment;
pub use subscription::{
    Dispatcher, Events, Flow, Handler, Observable, SubscribeOptions, Subscription, SubscriptionGuard,
    Subscriptions,
};

mod byte_semaphore;
mod disconnect;
mod end_cause;
mod event;
mod handler_future;
mod moment;
mod subscription;
