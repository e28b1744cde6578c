//! The server's address as a URL.

use std::borrow::Cow;
use std::collections::HashMap;

use dynamic_batcher::{Error, ErrorKind, Result};
use percent_encoding::percent_decode_str;
use url::Url;

use super::RedisConfig;

/// The configuration with the address that the URL says.
pub(super) fn apply(config: RedisConfig, text: &str) -> Result<RedisConfig> {
    let url = Url::parse(text).map_err(|error| refused(&error.to_string()))?;
    let blank = RedisConfig::default();
    let config = RedisConfig {
        host: blank.host,
        port: blank.port,
        socket: None,
        tls: url.scheme() == "rediss",
        db: blank.db,
        username: None,
        password: None,
        ..config
    };
    match url.scheme() {
        "redis" | "rediss" => tcp(config, &url),
        "unix" | "redis+unix" => unix(config, &url),
        scheme => Err(refused(&format!(
            "the scheme is {scheme:?}, allowed are redis, rediss and unix"
        ))),
    }
}

fn tcp(mut config: RedisConfig, url: &Url) -> Result<RedisConfig> {
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() {
        return Err(refused("it names no host"));
    }
    // An address of IPv6 stands in brackets in a URL, and nowhere else.
    config.host = host.trim_matches(['[', ']']).to_owned();
    config.port = url.port().unwrap_or(config.port);
    if config.port == 0 {
        return Err(refused("the port is 0, allowed is 1 to 65535"));
    }
    config.db = match url.path().trim_matches('/') {
        "" => config.db,
        db => database(db)?,
    };
    config.username = not_empty(url.username())?;
    config.password = not_empty(url.password().unwrap_or_default())?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("nothing may follow the database"));
    }
    Ok(config)
}

fn unix(mut config: RedisConfig, url: &Url) -> Result<RedisConfig> {
    let path = decoded(url.path())?;
    if path.len() < 2 {
        return Err(refused("it names no socket"));
    }
    config.socket = Some(path.into());
    let mut query: HashMap<Cow<'_, str>, Cow<'_, str>> = url.query_pairs().collect();
    config.db = match query.remove("db") {
        Some(db) => database(&db)?,
        None => config.db,
    };
    config.username = query.remove("user").map(Cow::into_owned);
    config.password = query.remove("pass").map(Cow::into_owned);
    match query.keys().next() {
        None => Ok(config),
        Some(name) => Err(refused(&format!(
            "it says {name:?}, allowed are db, user and pass"
        ))),
    }
}

fn database(text: &str) -> Result<u32> {
    text.parse().map_err(|_| {
        refused(&format!(
            "the database is {text:?}, allowed is a whole number from 0 to 4294967295"
        ))
    })
}

fn not_empty(text: &str) -> Result<Option<String>> {
    let text = decoded(text)?;
    Ok((!text.is_empty()).then_some(text))
}

fn decoded(text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Cow::into_owned)
        .map_err(|_| refused("a part of it is not UTF-8"))
}

/// The text of the URL is not shown: it may hold the password.
fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the URL of Redis: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_all_of_the_address_and_none_of_the_names() {
        let before = RedisConfig::default()
            .host("other")
            .port(7_000)
            .socket("/other")
            .password("old")
            .stream_key_request("mine");
        let mine = RedisConfig::default().stream_key_request("mine");
        for (url, expected) in [
            ("redis://localhost", mine.clone()),
            (
                "redis://cache:6380/3",
                mine.clone().host("cache").port(6380).db(3),
            ),
            (
                "redis://:p%40s@[::1]/",
                mine.clone().host("::1").password("p@s"),
            ),
            (
                "rediss://batch:secret@cache",
                mine.clone()
                    .host("cache")
                    .tls(true)
                    .username("batch")
                    .password("secret"),
            ),
            (
                "unix:///run/re%20dis.sock",
                mine.clone().socket("/run/re dis.sock"),
            ),
            (
                "unix:///run/redis.sock?db=2&user=u&pass=p%26",
                mine.socket("/run/redis.sock")
                    .db(2)
                    .username("u")
                    .password("p&"),
            ),
        ] {
            assert_eq!(before.clone().url(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_such_url_is_refused_without_showing_the_password() {
        for url in [
            "",
            "localhost:6379",
            "http://:hunter2@localhost",
            "redis://:hunter2@localhost/a",
            "redis://:hunter2@localhost/-1",
            "redis://:hunter2@localhost:0",
            "redis://:hunter2@localhost:99999",
            "redis://:hunter2@localhost/0?db=1",
            "redis:///0",
            "unix://",
            "unix:///run/redis.sock?password=hunter2",
        ] {
            let error = RedisConfig::default().url(url).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
