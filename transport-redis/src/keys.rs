//! The names of the keys in Redis: all of them are built here.

use dynamic_batcher::{Error, ErrorKind, Result};

/// The keys that belong to one request stream.
///
/// Those of our own share its hash slot, so that one transaction or script can touch them
/// together: for a stream `request` they begin with `{request}`, for one that has a hash tag
/// already they begin with its whole name.
///
/// # Examples
///
/// ```
/// use dynamic_batcher_redis::Keys;
///
/// let keys = Keys::new("request")?;
/// assert_eq!(keys.request(), "request");
/// assert_eq!(keys.dead(), "{request}:dead");
/// assert_eq!(keys.reply("7f3a"), "{request}:reply:7f3a");
/// assert_eq!(Keys::new("{app}:request")?.dead(), "{app}:request:dead");
/// # Ok::<(), dynamic_batcher::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    request: String,
    prefix: String,
}

impl Keys {
    /// The keys of the request stream `request`.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config) when the name is empty, or holds a brace without having a
    /// hash tag (a text between `{` and `}`): no other key could be put into its slot.
    pub fn new(request: impl Into<String>) -> Result<Self> {
        let request = request.into();
        let prefix = match hash_tag(&request) {
            Some(_) => request.clone(),
            None if !request.is_empty() && !request.contains(['{', '}']) => {
                format!("{{{request}}}")
            }
            None => {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!(
                        "the request stream's key is {request:?}, allowed is a name without \
                         braces or one with a hash tag, as in \"{{app}}:request\""
                    ),
                ));
            }
        };
        Ok(Self { request, prefix })
    }

    /// The stream of requests.
    #[must_use]
    pub fn request(&self) -> &str {
        &self.request
    }

    /// The stream of dead letters: requests that were given up.
    #[must_use]
    pub fn dead(&self) -> String {
        format!("{}:dead", self.prefix)
    }

    /// The stream that tells waiting processors that requests were given back.
    #[must_use]
    pub fn again(&self) -> String {
        format!("{}:again", self.prefix)
    }

    /// The stream on which the caller that calls itself `caller` is answered.
    #[must_use]
    pub fn reply(&self, caller: &str) -> String {
        format!("{}:reply:{caller}", self.prefix)
    }
}

/// What Redis hashes of a key instead of all of it: the text between the first `{` and the next
/// `}`, if there is any.
fn hash_tag(key: &str) -> Option<&str> {
    let (_, after) = key.split_once('{')?;
    let (tag, _) = after.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_ours_hash_as_the_request_stream_does() {
        for request in ["request", "a:b", "{app}:request", "x{y}z", "a}{b}"] {
            let keys = Keys::new(request).unwrap();
            let slot = hash_tag(request).unwrap_or(request);
            for key in [keys.dead(), keys.again(), keys.reply("1")] {
                assert_eq!(hash_tag(&key), Some(slot), "{key}");
            }
        }
    }

    #[test]
    fn a_name_that_no_key_can_be_put_beside_is_refused() {
        for request in ["", "{}", "a{}b", "{a", "a}", "{}{a}"] {
            let error = Keys::new(request).expect_err(request);
            assert_eq!(error.kind(), ErrorKind::Config);
        }
    }
}
