//! What a server refuses: a typed error, soon, that says what to change.

use std::time::Instant;

use dynamic_batcher::ErrorKind;
use dynamic_batcher_redis::RedisConfig;

use crate::rig::{Client, Rig, SOON, kind};

const LOGIN: [&str; 2] = ["limited", "secret"];

fn limited(rig: &Rig, rules: &str) -> RedisConfig {
    let [user, password] = LOGIN;
    rig.probe
        .say::<()>(&format!("ACL SETUSER {user} reset on >{password} {rules}"));
    rig.config().redis().username(user).password(password)
}

/// The error says what was refused.
async fn refused(rig: &Rig, config: RedisConfig, says: &str) {
    let start = Instant::now();
    let error = rig.client.connect(config).await.expect_err("it connects");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(!error.is_retryable());
    let text = error.to_string();
    assert!(text.contains(says) && !text.contains('\n'), "{text}");
}

pub(crate) async fn a_forbidden_command_or_key_is_refused(client: Client) {
    let rig = Rig::new(client);
    for rules in ["~other +@all", "~* +@all -xgroup", "~* +ping"] {
        let config = limited(&rig, rules);
        refused(&rig, config, "NOPERM").await;
    }
    let all = limited(&rig, "~* +@all");
    rig.client.connect(all).await.expect("nothing is forbidden");
}

pub(crate) async fn a_key_of_another_type_is_refused(client: Client) {
    for key in ["request", "response", "{request}:again"] {
        let rig = Rig::new(client);
        rig.probe.say::<()>(&format!("SET {key} other"));
        refused(&rig, rig.config().redis(), "WRONGTYPE").await;
        assert_eq!(rig.probe.say::<String>(&format!("GET {key}")), "other");
    }
}

pub(crate) async fn a_permission_taken_away_is_told_soon(client: Client) {
    let rig = Rig::new(client);
    let config = limited(&rig, "~* +@all");
    let processor = rig.processor().await;
    let transport = rig.client.connect(config).await.expect("it may");
    let caller = std::sync::Arc::new(dynamic_batcher::Batcher::new(transport));
    assert_eq!(kind(&rig.call(&caller).await), "Ok");
    rig.probe
        .say::<()>("ACL SETUSER limited -xadd -eval -evalsha");
    let end = rig.call(&caller).await;
    assert_eq!(kind(&end), "Config", "{end:?}");
    assert!(end.elapsed < SOON, "{end:?}");
    rig.probe.say::<()>("ACL SETUSER limited +@all");
    assert_eq!(kind(&rig.call(&caller).await), "Ok");
    drop(caller);
    rig.end(vec![processor]).await;
}
