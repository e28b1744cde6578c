//! What the request stream holds, for an observer.

use dynamic_batcher::{Backlog, Result};

use crate::client::send_one;
use crate::command::Command;
use crate::place::Place;
use crate::value::Value;

/// Tells the observer of the client, if it has one. A stream or a group that is not there has nothing
/// to be told, and is made anew by who reads.
pub(crate) async fn tell(place: &Place) -> Result<()> {
    let Some(observer) = place.client.observer() else {
        return Ok(());
    };
    let groups = Command::new("XINFO")
        .arg("GROUPS")
        .arg(&place.request_stream);
    let groups = match send_one(&*place.client, groups).await? {
        Value::Refused(refusal) if refusal.code == "ERR" => return Ok(()),
        reply => reply.accepted()?,
    };
    if let Some(backlog) = of_group(groups, &place.group)? {
        observer.tell(|observer| observer.backlog(&backlog));
    }
    Ok(())
}

/// Reads the reply to `XINFO GROUPS`: for each group the names of its numbers, each before its number.
/// `lag` is there from Redis 7 on, and nil while the server does not know it.
fn of_group(groups: Value, group: &str) -> Result<Option<Backlog>> {
    for each in groups.list()? {
        let (mut is_it, mut pending, mut lag) = (false, 0, None);
        let mut parts = each.list()?.into_iter();
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            match (&*name.text()?, value) {
                (b"name", name) => is_it = name.text()? == group.as_bytes(),
                (b"pending", number) => pending = count(number.int()?),
                (b"lag", Value::Int(number)) => lag = Some(count(number)),
                _ => {}
            }
        }
        if is_it {
            return Ok(Some(Backlog::new(pending, lag)));
        }
    }
    Ok(None)
}

fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::scripted::{list, text};

    fn group(name: &str, numbers: &[(&str, Value)]) -> Value {
        let name = [text("name"), text(name)];
        let numbers = numbers
            .iter()
            .flat_map(|(name, value)| [text(name), value.clone()]);
        list(name.into_iter().chain(numbers))
    }

    #[test]
    fn the_groups_numbers_are_found_among_others() {
        let groups = || {
            list([
                group(
                    "other",
                    &[("pending", Value::Int(9)), ("lag", Value::Int(9))],
                ),
                group(
                    "processor",
                    &[
                        ("consumers", Value::Int(1)),
                        ("pending", Value::Int(2)),
                        ("last-delivered-id", text("1-1")),
                        ("entries-read", Value::Nil),
                        ("lag", Value::Int(3)),
                    ],
                ),
                group("old", &[("pending", Value::Int(4))]),
                group("unsure", &[("pending", Value::Int(5)), ("lag", Value::Nil)]),
            ])
        };
        for (name, expected) in [
            ("processor", Some(Backlog::new(2, Some(3)))),
            ("old", Some(Backlog::new(4, None))),
            ("unsure", Some(Backlog::new(5, None))),
            ("nobody", None),
        ] {
            assert_eq!(of_group(groups(), name).unwrap(), expected);
        }
        assert_eq!(of_group(Value::Nil, "processor").unwrap(), None);
    }
}
