//! permessage-deflate (RFC 7692): messages that are compressed each on its own.
//!
//! Nothing of a message is kept for the next one, so that a broadcast is compressed once for all of its receivers, and
//! an idle connection costs nothing. Only a client whose server insists on it keeps a window, to read.

#[cfg(feature = "deflate")]
mod agreement;
#[cfg(feature = "deflate")]
mod deflater;
#[cfg(feature = "deflate")]
mod extension;
#[cfg(feature = "deflate")]
mod figures;
#[cfg(feature = "deflate")]
mod inflater;
#[cfg(feature = "deflate")]
mod negotiation;
#[cfg(all(feature = "deflate", any(test, fuzzing)))]
pub(crate) mod oracles;
#[cfg(feature = "deflate")]
mod states;
#[cfg(not(feature = "deflate"))]
mod without;

#[cfg(feature = "deflate")]
pub use agreement::{Agreement, Compression};
#[cfg(feature = "deflate")]
pub(crate) use agreement::{Form, Inflation};
#[cfg(feature = "deflate")]
pub use extension::MalformedExtensions;
#[cfg(feature = "deflate")]
pub use figures::{CompressedBytes, CompressionFigures};
#[cfg(feature = "deflate")]
pub use negotiation::{ExtensionError, OFFER};
#[cfg(feature = "deflate")]
pub use states::compression_figures;
#[cfg(not(feature = "deflate"))]
pub use without::Agreement;
#[cfg(not(feature = "deflate"))]
pub(crate) use without::{Form, Inflation};
