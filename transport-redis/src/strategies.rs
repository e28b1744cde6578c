//! Bytes for properties, as a read hands them out.

use bytes::Bytes;
use proptest::prelude::*;

pub(crate) fn any_bytes() -> impl Strategy<Value = Bytes> {
    any::<Vec<u8>>().prop_map(Bytes::from)
}

/// Text that matches a pattern.
pub(crate) fn matching(pattern: &'static str) -> impl Strategy<Value = Bytes> {
    pattern.prop_map(Bytes::from)
}
