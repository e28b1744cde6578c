//! The Python package's environment variables.

use std::ffi::OsString;

use dynamic_batcher::{Error, ErrorKind, Result, env};

use super::RedisConfig;
use super::check::{A_PORT, A_TEXT};

/// The default with what the variables say.
pub(super) fn read(var: impl Fn(&str) -> Option<OsString>) -> Result<RedisConfig> {
    let mut config = RedisConfig::default();
    for (name, field) in [
        ("REDIS__HOST", &mut config.host),
        ("REDIS__STREAM_KEY_REQUEST", &mut config.stream_key_request),
        (
            "REDIS__STREAM_GROUP_PROCESSOR",
            &mut config.stream_group_processor,
        ),
        (
            "REDIS__STREAM_KEY_RESPONSE",
            &mut config.stream_key_response,
        ),
        (
            "REDIS__STREAM_GROUP_BATCHER",
            &mut config.stream_group_batcher,
        ),
    ] {
        let text = env::parsed(&var, name, A_TEXT, |text| {
            (!text.is_empty()).then(|| text.to_owned())
        })?;
        if let Some(text) = text {
            *field = text;
        }
    }
    let port = env::parsed(&var, "REDIS__PORT", A_PORT, |text| {
        text.parse().ok().filter(|port| *port > 0)
    })?;
    config.port = port.unwrap_or(config.port);
    let db = env::parsed(
        &var,
        "REDIS__DB",
        "a whole number from 0 to 4294967295",
        |text| text.parse().ok(),
    )?;
    config.db = db.unwrap_or(config.db);
    if let Some(password) = var("REDIS__PASSWORD") {
        config.password = password_text(password)?;
    }
    Ok(config)
}

/// The password as it is, space and all; `None` when it is empty. An error does not show it.
fn password_text(password: OsString) -> Result<Option<String>> {
    let password = password.into_string().map_err(|_| {
        Error::new(
            ErrorKind::Config,
            "REDIS__PASSWORD is not Unicode, allowed is any Unicode text",
        )
    })?;
    Ok((!password.is_empty()).then_some(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(vars: &[(&str, &str)]) -> Result<RedisConfig> {
        RedisConfig::from_vars(|asked| {
            let found = vars.iter().find(|(name, _)| *name == asked);
            found.map(|(_, text)| text.into())
        })
    }

    #[test]
    fn what_the_environment_says_wins_over_the_default_and_code_wins_over_both() {
        let config = with(&[
            ("REDIS__HOST", "cache"),
            ("REDIS__PORT", "6380"),
            ("REDIS__DB", "3"),
            ("REDIS__PASSWORD", " s p "),
            ("REDIS__STREAM_KEY_REQUEST", "a"),
            ("REDIS__STREAM_GROUP_PROCESSOR", "b"),
            ("REDIS__STREAM_KEY_RESPONSE", "c"),
            ("REDIS__STREAM_GROUP_BATCHER", "d"),
        ])
        .unwrap();
        let expected = RedisConfig::default()
            .host("cache")
            .port(6380)
            .db(3)
            .password(" s p ")
            .stream_key_request("a")
            .stream_group_processor("b")
            .stream_key_response("c")
            .stream_group_batcher("d");
        assert_eq!(config, expected);
        assert_eq!(with(&[]).unwrap(), RedisConfig::default());
    }

    #[test]
    fn an_empty_password_is_none() {
        assert_eq!(with(&[("REDIS__PASSWORD", "")]).unwrap().password, None);
    }

    #[test]
    fn bad_text_is_refused_by_name() {
        for (name, text) in [
            ("REDIS__HOST", ""),
            ("REDIS__PORT", "0"),
            ("REDIS__PORT", "65536"),
            ("REDIS__PORT", "redis"),
            ("REDIS__DB", "-1"),
            ("REDIS__STREAM_KEY_REQUEST", " "),
        ] {
            let error = with(&[(name, text)]).expect_err(name).to_string();
            assert!(
                error.contains(&format!("{name} is {text:?}, allowed is")),
                "{error}"
            );
        }
    }
}
