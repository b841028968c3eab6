//! Events of connections, and the subscriptions to them.

pub use disconnect::{Disconnect, EndedBy};
pub use dispatcher::Dispatcher;
pub use end_cause::EndCause;
pub use event::{
    Attempt, ConnectionEvent, ConnectionEventKind, Direction, ErrorEvent, ErrorStage, EventError, EventId,
    MessageEvent, MessagePartEvent,
};
pub use event_type::{EventPart, EventType, Flow};
pub use group_change::GroupChange;
pub use handler::Handler;
pub use handler_future::HandlerFuture;
pub use handler_panic::{CatchPanic, Panicked, catch_panic};
pub use messages::{Demand, MessageSink, Messages};
pub use moment::{Moment, deadline, wall_clock};
pub use stream::Events;
pub use subscribe_options::SubscribeOptions;
pub use subscriber::HeldHandler;
pub use subscriptions::{Subscription, SubscriptionGuard, Subscriptions};
pub use with_state::WithState;

mod byte_semaphore;
mod delivery;
mod disconnect;
mod dispatcher;
mod end_cause;
mod event;
mod event_type;
mod group_change;
mod handler;
mod handler_future;
mod handler_panic;
mod messages;
mod moment;
mod on_part;
pub(crate) mod spare;
mod stream;
mod subscribe_methods;
mod subscribe_options;
mod subscriber;
mod subscriptions;
mod with_state;
