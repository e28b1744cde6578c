//! JSON as the Python package writes and reads it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Decode, Encode};
use crate::error::{Error, ErrorKind, Result};

mod finite;

/// JSON text, by `serde_json`: what the Python package speaks.
///
/// Floats survive the way there and back. NaN and the infinities, which JSON does not have, are an
/// error of the one request or response that holds them: `serde_json` alone writes `null` for
/// them. What Python writes beyond JSON (`NaN`, `Infinity`) does not decode.
///
/// # Examples
///
/// ```
/// use dynamic_batcher::{Decode, Encode, Json};
///
/// let mut bytes = Vec::new();
/// Json.encode(&vec![1.5, 2.0], &mut bytes)?;
/// assert_eq!(bytes, b"[1.5,2.0]");
/// let values: Vec<f64> = Json.decode(&bytes)?;
/// assert_eq!(values, [1.5, 2.0]);
/// assert!(Json.encode(&f64::NAN, &mut Vec::new()).is_err());
/// # Ok::<(), dynamic_batcher::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

impl<T: Serialize> Encode<T> for Json {
    fn encode(&self, value: &T, out: &mut Vec<u8>) -> Result<()> {
        let mut serializer = serde_json::Serializer::new(out);
        finite::serialize(value, &mut serializer)
            .map_err(|error| Error::with_source(ErrorKind::Encode, error))
    }
}

impl<T: DeserializeOwned> Decode<T> for Json {
    fn decode(&self, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|error| Error::with_source(ErrorKind::Decode, error))
    }
}
