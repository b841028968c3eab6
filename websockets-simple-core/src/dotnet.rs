//! The form that values have in the JSON of the .NET library.
//!
//! * [`timestamp`] writes and reads dates;
//! * [`numeric_enum`] writes and reads an enum as its number.
//!
//! Both are used with serde's `with` attribute on the fields of a [`Packet`](crate::Packet), whose
//! documentation has a complete example.

pub(crate) mod lenient;
pub mod numeric_enum;
pub mod timestamp;

pub use numeric_enum::NumericEnum;

pub(crate) use lossy_text::LossyText;

mod lossy_text;
