//! The place of a request in its caller's trace, as it goes from process to process.

use std::fmt;

/// The place of a request in its caller's trace: what `traceparent` of the W3C's *Trace Context*
/// says.
///
/// For authors of transports between processes: what
/// [`CallMeta::trace_context`](crate::CallMeta::trace_context) gives is written beside the request, as
/// shown by `Display`, and what is [read](Self::parse) goes into
/// [`CallMeta::with_trace_context`](crate::CallMeta::with_trace_context).
///
/// # Examples
///
/// ```
/// use dynamic_batcher::trace::TraceContext;
///
/// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let context = TraceContext::parse(text.as_bytes()).unwrap();
/// assert_eq!(context.to_string(), text);
/// assert_eq!(TraceContext::parse(b"garbage"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    // In halves: a `u128` would align whatever it is part of to 16 bytes.
    pub(super) trace_id: [u64; 2],
    pub(super) span_id: u64,
    pub(super) flags: u8,
}

impl TraceContext {
    /// Reads a `traceparent`. `None` when it is none, or says that there is no trace.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        // Later versions may have more, behind another dash.
        let (known, rest) = text.split_at_checked(55)?;
        let dashes = [2, 35, 52].iter().all(|&at| known[at] == b'-');
        let version = hex(&known[..2])?;
        let ends = rest.is_empty() || version > 0 && rest[0] == b'-';
        if !dashes || !ends || version == 0xff {
            return None;
        }
        let context = Self {
            trace_id: [hex(&known[3..19])?, hex(&known[19..35])?],
            span_id: hex(&known[36..52])?,
            flags: u8::try_from(hex(&known[53..])?).ok()?,
        };
        (context.trace_id != [0, 0] && context.span_id != 0).then_some(context)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [high, low] = self.trace_id;
        let Self { span_id, flags, .. } = self;
        write!(f, "00-{high:016x}{low:016x}-{span_id:016x}-{flags:02x}")
    }
}

/// A number in hexadecimal digits, lower case as the standard wants it.
fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}
