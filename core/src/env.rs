//! Settings from environment variables: read, checked, and refused with a clear error.
//!
//! For this crate's own policy and for the configuration of transports, so that all of them treat
//! a bad variable in the same way.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

const BATCH_SIZE: &str = "DYNAMIC_BATCHER__BATCH_SIZE";
const BATCH_TIME: &str = "DYNAMIC_BATCHER__BATCH_TIME";

/// A larger batch is a typing error, and its buffers would take the memory of the process.
const MOST_BATCH_SIZE: usize = 1_000_000;
/// A day: beyond it no caller waits.
const MOST_BATCH_TIME: f64 = 86_400.0;

/// Looks a variable up in the environment of the process: `None` when it is not set.
#[must_use]
pub fn process(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

pub(crate) fn batch_size(var: impl Fn(&str) -> Option<OsString>) -> Result<Option<NonZeroUsize>> {
    let allowed = format!("a whole number from 1 to {MOST_BATCH_SIZE}");
    parsed(var, BATCH_SIZE, &allowed, |text| {
        let size: NonZeroUsize = text.parse().ok()?;
        (size.get() <= MOST_BATCH_SIZE).then_some(size)
    })
}

pub(crate) fn batch_time(var: impl Fn(&str) -> Option<OsString>) -> Result<Option<Duration>> {
    let allowed = format!("a number of seconds from 0 to {MOST_BATCH_TIME}");
    parsed(var, BATCH_TIME, &allowed, |text| {
        let seconds: f64 = text.parse().ok()?;
        (0.0..=MOST_BATCH_TIME)
            .contains(&seconds)
            .then(|| Duration::from_secs_f64(seconds))
    })
}

/// Reads the variable `name`, looked up by `var`, with `parse`, which gets its text without the
/// space round it. `None` when it is not set.
///
/// # Errors
///
/// [`Config`](ErrorKind::Config) when the text is not Unicode or `parse` gives `None`; the text of
/// the error names the variable, what it holds, and what is `allowed`.
///
/// # Examples
///
/// ```
/// use dynamic_batcher::env;
///
/// let port = env::parsed(|_| Some("6380".into()), "REDIS__PORT", "a port", |text| text.parse().ok());
/// assert_eq!(port.unwrap(), Some(6380_u16));
/// let error = env::parsed(|_| Some("x".into()), "REDIS__PORT", "a port", |text| text.parse::<u16>().ok());
/// assert_eq!(
///     error.unwrap_err().to_string(),
///     "bad configuration: REDIS__PORT is \"x\", allowed is a port"
/// );
/// ```
pub fn parsed<T>(
    var: impl Fn(&str) -> Option<OsString>,
    name: &str,
    allowed: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>> {
    let Some(text) = var(name) else {
        return Ok(None);
    };
    match text.to_str().and_then(|text| parse(text.trim())) {
        Some(value) => Ok(Some(value)),
        None => Err(Error::new(
            ErrorKind::Config,
            format!("{name} is {text:?}, allowed is {allowed}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchPolicy;

    fn policy(name: &str, text: &str) -> Result<BatchPolicy> {
        BatchPolicy::from_vars(|asked| (asked == name).then(|| text.into()))
    }

    #[test]
    fn the_environment_wins_over_the_default_and_what_is_passed_wins_over_both() {
        let from_env = policy(BATCH_SIZE, " 7 ").unwrap();
        assert_eq!(from_env.batch_size.get(), 7);
        assert_eq!(from_env.batch_time, Duration::from_secs(2));
        let passed = from_env.batch_size(NonZeroUsize::MIN);
        assert_eq!(passed.batch_size.get(), 1);
        let from_env = policy(BATCH_TIME, "0.25").unwrap();
        assert_eq!(from_env.batch_time, Duration::from_millis(250));
        assert_eq!(from_env.batch_size.get(), 64);
    }

    #[test]
    fn nothing_set_is_the_default() {
        let policy = BatchPolicy::from_vars(|_| None).unwrap();
        assert_eq!(
            format!("{policy:?}"),
            format!("{:?}", BatchPolicy::default())
        );
    }

    #[test]
    fn bad_text_is_refused_and_the_error_names_variable_text_and_what_is_allowed() {
        let sizes = [
            "0",
            "-1",
            "many",
            "",
            "1.5",
            "1000001",
            "99999999999999999999",
        ];
        let times = ["-1", "soon", "", "NaN", "inf", "-0.1", "86401", "1e300"];
        let cases = sizes
            .map(|text| (BATCH_SIZE, text, "a whole number from 1 to 1000000"))
            .into_iter()
            .chain(times.map(|text| (BATCH_TIME, text, "a number of seconds from 0 to 86400")));
        for (name, text, allowed) in cases {
            let error = policy(name, text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert_eq!(
                error.to_string(),
                format!("bad configuration: {name} is {text:?}, allowed is {allowed}")
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn text_that_is_not_unicode_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let error = BatchPolicy::from_vars(|name| {
            (name == BATCH_SIZE).then(|| OsString::from_vec(vec![b'6', 0xff]))
        })
        .unwrap_err();
        assert!(error.to_string().contains(BATCH_SIZE), "{error}");
    }
}
