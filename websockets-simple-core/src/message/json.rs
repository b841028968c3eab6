//! Any serializable value as a message.

use serde::Serialize;

use crate::{
    message::{EncodeError, IntoMessage},
    protocol::Message,
};

/// Sends any serializable value as its JSON: `send(Json(&value))`. What was received is read with
/// [`Message::json`].
///
/// # Examples
///
/// ```
/// # extern crate websockets_simple_core as websockets_simple_server;
/// use serde::{Deserialize, Serialize};
/// use websockets_simple_server::{IntoMessage, Json};
///
/// #[derive(Debug, Deserialize, PartialEq, Serialize)]
/// struct Quote { symbol: String, price: f64 }
///
/// let quote = Quote { symbol: "ACME".to_owned(), price: 12.5 };
/// // `connection.send(Json(&quote)).await` sends this:
/// let message = Json(&quote).into_message()?;
/// assert_eq!(message.as_text(), Some(r#"{"symbol":"ACME","price":12.5}"#));
/// assert_eq!(message.json::<Quote>()?, quote);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoMessage for Json<T> {
    fn into_message(self) -> Result<Message, EncodeError> {
        Message::from_json(&self.0)
    }
}
