//! Whether all is as it is allowed: looked at before anything is connected, since who fails to connect
//! tries again, and here nothing would come of it.

use std::time::Duration;

use dynamic_batcher::{Error, ErrorKind, Result};

use super::RedisConfig;
use crate::keys::Keys;

pub(super) const A_TEXT: &str = "any text that is not empty";
pub(super) const A_PORT: &str = "a port from 1 to 65535";
const SHORTEST_DELAY: Duration = Duration::from_millis(1);
const SHORTEST_LEASE: Duration = Duration::from_millis(100);
/// More is of no use, and with far more a sum of times would overflow.
const LONGEST_TIME: Duration = Duration::from_secs(24 * 60 * 60);

impl RedisConfig {
    /// Of what counts however one connects.
    pub(crate) fn check(&self) -> Result<()> {
        for (name, text) in [
            (
                "`stream_key_request` (REDIS__STREAM_KEY_REQUEST)",
                &self.stream_key_request,
            ),
            (
                "`stream_group_processor` (REDIS__STREAM_GROUP_PROCESSOR)",
                &self.stream_group_processor,
            ),
            (
                "`stream_key_response` (REDIS__STREAM_KEY_RESPONSE)",
                &self.stream_key_response,
            ),
            (
                "`stream_group_batcher` (REDIS__STREAM_GROUP_BATCHER)",
                &self.stream_group_batcher,
            ),
        ] {
            check_text(name, text)?;
        }
        Keys::new(&*self.stream_key_request)?;
        check_time("delay", self.delay, SHORTEST_DELAY)?;
        check_time("lease", self.lease, SHORTEST_LEASE)?;
        check_time("grace", self.grace, self.lease)
    }

    /// Of where the server is and how to log in, which a client that is ready has said for itself.
    pub(crate) fn check_address(&self) -> Result<()> {
        if self.socket.is_none() {
            check_text("`host` (REDIS__HOST)", &self.host)?;
            if self.port == 0 {
                return Err(refused("`port` (REDIS__PORT)", "0", A_PORT));
            }
        }
        match &self.username {
            // Nobody would log in, and what follows be done as the default user.
            Some(username) if self.password.is_none() => {
                let is = format!("{username:?} without a password");
                let allowed = "a user with a `password` (REDIS__PASSWORD)";
                Err(refused("`username`", &is, allowed))
            }
            _ => Ok(()),
        }
    }
}

/// As in the environment, space alone is nothing.
fn check_text(name: &str, text: &str) -> Result<()> {
    match text.trim().is_empty() {
        true => Err(refused(name, &format!("{text:?}"), A_TEXT)),
        false => Ok(()),
    }
}

fn check_time(field: &str, time: Duration, least: Duration) -> Result<()> {
    if (least..=LONGEST_TIME).contains(&time) {
        return Ok(());
    }
    Err(refused(
        &format!("`{field}`"),
        &format!("{time:?}"),
        &format!("{least:?} to {LONGEST_TIME:?}"),
    ))
}

fn refused(name: &str, is: &str, allowed: &str) -> Error {
    let text = format!("{name} is {is}, allowed is {allowed}");
    Error::new(ErrorKind::Config, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused_as(checked: Result<()>, named: &str) {
        let error = checked.expect_err(named);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(named), "{error}");
    }

    #[test]
    fn what_is_out_of_its_range_is_refused_by_name() {
        let second = Duration::from_secs(1);
        let millis = Duration::from_millis;
        let good = RedisConfig::default().lease(second).grace(second);
        let at_the_ends = good.clone().delay(millis(1)).grace(LONGEST_TIME);
        assert!(good.check().is_ok() && at_the_ends.check().is_ok());
        let config = || good.clone();
        for (config, named) in [
            (config().delay(Duration::ZERO), "`delay` is 0ns"),
            (config().delay(Duration::MAX), "`delay` is 1844"),
            (config().lease(millis(99)), "`lease` is 99ms"),
            (config().lease(Duration::MAX), "`lease` is 1844"),
            (config().grace(millis(999)), "`grace` is 999ms"),
            (config().grace(Duration::MAX), "`grace` is 1844"),
            (
                config().stream_key_request(""),
                "`stream_key_request` (REDIS__STREAM_KEY_REQUEST) is \"\"",
            ),
            (config().stream_key_request("a{b"), "\"a{b\""),
            (
                config().stream_group_processor(" "),
                "`stream_group_processor` (REDIS__STREAM_GROUP_PROCESSOR) is \" \"",
            ),
            (
                config().stream_key_response(""),
                "`stream_key_response` (REDIS__STREAM_KEY_RESPONSE) is \"\"",
            ),
            (
                config().stream_group_batcher(""),
                "`stream_group_batcher` (REDIS__STREAM_GROUP_BATCHER) is \"\"",
            ),
        ] {
            refused_as(config.check(), named);
        }
    }

    #[test]
    fn an_address_that_nobody_can_have_is_refused_by_name() {
        let config = RedisConfig::default;
        for good in [
            config(),
            config().host("").port(0).socket("/run/redis.sock"),
            config().password("secret"),
            config().username("batch").password("secret"),
        ] {
            assert!(good.check_address().is_ok(), "{good:?}");
        }
        for (bad, named) in [
            (config().host(""), "`host` (REDIS__HOST) is \"\""),
            (config().port(0), "`port` (REDIS__PORT) is 0"),
            (
                config().username("batch"),
                "`username` is \"batch\" without a password",
            ),
            (
                config().username("batch").socket("/run/redis.sock"),
                "(REDIS__PASSWORD)",
            ),
        ] {
            refused_as(bad.check_address(), named);
        }
    }
}
