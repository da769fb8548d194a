//! `watch`: all rows, then what happens to them.

use std::io::Write;

use jiff::Timestamp;
use schema::Fields;
use serde_json::{Map, Value as Json, json};
use swss::NamedEndpoint;
use swss::raw::{Changed, Connection, Seen, Watch};

use crate::args::{Args, TablesArgs};
use crate::failure::Failure;
use crate::show::{Shown, escaped, text};

/// Shows all rows of the tables, then every change with the time at which it was noticed, until stopped or until
/// `changes` changes were seen.
///
/// # Errors
/// The database cannot be reached at first; after that, it is waited for.
pub async fn watch(
    args: &Args,
    endpoint: NamedEndpoint,
    tables: &TablesArgs,
    key: Option<&str>,
    changes: Option<u64>,
) -> Result<(), Failure> {
    // So that a wrong address is told at once instead of waited for.
    Connection::open(endpoint.clone()).await?;
    let mut watch = Watch::new(endpoint.clone(), &tables.tables);
    let (mut is_initial, mut count) = (true, 0);
    loop {
        let seen = watch.next().await;
        let time = format!("{:.3}", Timestamp::now());
        let line = match seen {
            Seen::Changed(changed) if key.is_none_or(|key| key == changed.key) => {
                count += u64::from(!is_initial);
                row_line(args, &endpoint, &time, changed, is_initial)
            }
            Seen::Changed(_) => continue,
            Seen::Synced => {
                is_initial = false;
                note(args, &time, "synced", "this is all there is")
            }
            Seen::Lost { reason } => note(args, &time, "lost", &reason),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()?;
        if changes.is_some_and(|changes| count >= changes) {
            return Ok(());
        }
    }
}

fn note(args: &Args, time: &str, event: &str, text: &str) -> String {
    if args.json {
        json!({ "time": time, "event": event, "text": text }).to_string()
    } else {
        format!("{time} -- {event}: {text}")
    }
}

fn row_line(args: &Args, endpoint: &NamedEndpoint, time: &str, changed: Changed, is_initial: bool) -> String {
    let Changed { table, key, before, now } = changed;
    let event = match (&before, &now) {
        (_, _) if is_initial => "row",
        (None, _) => "new",
        (Some(_), Some(_)) => "set",
        (Some(_), None) => "del",
    };
    let shown = |fields: &Fields| Shown::new(&endpoint.name, &table, &key, fields, args.raw);
    if args.json {
        let mut line = json!({ "time": time, "event": event, "table": table, "key": key });
        if let Some(now) = &now {
            line["fields"] = shown(now).into_json();
        }
        return line.to_string();
    }
    let name = escaped(&endpoint.redis_key(&table, &key));
    let members =
        |fields: &Option<Fields>| fields.as_ref().map(|fields| flat(shown(fields))).unwrap_or_default();
    let (old, new) = (members(&before), members(&now));
    let mut words = Vec::new();
    for (name, value) in &new {
        match old.get(name) {
            Some(before) if before == value => {}
            Some(before) => words.push(format!("{name}={} (was {})", text(value), text(before))),
            None => words.push(format!("{name}={}", text(value))),
        }
    }
    if now.is_some() {
        words.extend(old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("-{name}")));
    }
    format!("{time} {event} {name} {}", words.join(" ")).trim_end().to_owned()
}

/// Fields, and the members of a message as `pb.member`.
fn flat(shown: Shown) -> Map<String, Json> {
    let mut flat = Map::new();
    for (name, value) in shown.json {
        match value {
            Json::Object(members) => {
                flat.extend(members.into_iter().map(|(member, v)| (format!("{name}.{member}"), v)))
            }
            value => {
                flat.insert(escaped(&name), value);
            }
        }
    }
    flat
}
