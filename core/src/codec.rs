//! How values become bytes and back, for transports that carry bytes.

use crate::error::Result;

#[cfg(feature = "json")]
mod json;
#[cfg(feature = "json")]
pub use json::Json;

/// Turns values of type `T` into bytes. One way only: who sends need not be able to decode.
pub trait Encode<T>: Send + Sync + 'static {
    /// Appends the bytes of `value` to `out`.
    ///
    /// # Errors
    ///
    /// [`Encode`](crate::ErrorKind::Encode) when the value has no bytes in this format. What was
    /// appended by then is of no use.
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()>;
}

/// Turns bytes into values of type `T`.
pub trait Decode<T>: Send + Sync + 'static {
    /// Reads one value, which takes up all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode) when the bytes are no `T` in this format.
    fn decode(&self, bytes: &[u8]) -> Result<T>;
}
