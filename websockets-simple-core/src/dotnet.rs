//! The form that values have in the JSON of the .NET library.
//!
//! * [`timestamp`] writes and reads dates;
//! * [`numeric_enum`] writes and reads an enum as its number;
//! * [`V6Loss`] is why a v6 server would lose a message.
//!
//! The first two are used with serde's `with` attribute on the fields of a [`Packet`](crate::Packet), whose
//! documentation has a complete example.

pub(crate) mod lenient;
pub mod numeric_enum;
pub mod timestamp;

pub use numeric_enum::NumericEnum;

pub use v6_server::{V6Loss, V6Server};

mod v6_server;
