//! The commands.

use std::collections::BTreeSet;
use std::io::Write;

use schema::Fields;
use serde_json::{Map, Value as Json, json};
use swss::NamedEndpoint;
use swss::raw::{Connection, How, RawWrite, Stored};

use crate::args::{Args, Command, RowArgs, TablesArgs};
use crate::failure::Failure;
use crate::pb::{self, PB};
use crate::place::{self, Place};
use crate::show::{Shown, escaped, text};
use crate::watch;

/// Does what the command line says.
///
/// # Errors
/// See [`Failure`].
pub async fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Command::Get { row, field } => get(args, row, field.as_deref()).await,
        Command::Set { row, replace, pb, producer } => {
            set(args, row, *replace, pb.as_deref(), how(*producer)).await
        }
        Command::Del { row, field, producer } => del(args, row, field, how(*producer)).await,
        Command::Watch { tables, key, changes } => {
            let endpoint = checked(args, tables)?;
            watch::watch(args, endpoint, tables, key.as_deref(), *changes).await
        }
        Command::Dump { tables } => dump(args, tables).await,
    }
}

fn how(producer: bool) -> How {
    if producer { How::ProducerState } else { How::Table }
}

/// The database, if the tables' names can be names of tables.
fn checked(args: &Args, tables: &TablesArgs) -> Result<NamedEndpoint, Failure> {
    let endpoint = place::database(args, &tables.database)?;
    tables.tables.iter().try_for_each(|table| place::check_table(&endpoint, table))?;
    Ok(endpoint)
}

async fn get(args: &Args, row: &RowArgs, field: Option<&str>) -> Result<(), Failure> {
    let endpoint = place::database(args, &row.database)?;
    let place = place::row(&endpoint, row)?;
    place::nothing_follows(&place)?;
    let name = named(&endpoint, &place);
    let mut connection = Connection::open(endpoint.clone()).await?;
    let fields = match connection.row(&place.table, &place.key).await? {
        Stored::Row(fields) => fields,
        Stored::Absent => return Err(absent(&mut connection, &endpoint, &place).await?),
        Stored::Other(kind) => return Err(no_row(&name, &kind)),
    };
    let shown = Shown::new(&endpoint.name, &place.table, &place.key, &fields, args.raw);
    let problem = shown.problem.clone();
    let mut out = std::io::stdout().lock();
    match field {
        Some(field) => match shown.value(field) {
            None => {
                let names = some_of(shown.names());
                return Err(Failure::NotWell(format!("{name} has no field {field:?}; there are {names}")));
            }
            Some(value) if args.json => writeln!(out, "{value}")?,
            Some(value @ Json::String(_)) => writeln!(out, "{}", text(value))?,
            Some(value) => writeln!(out, "{value}")?,
        },
        None if args.json => writeln!(out, "{}", shown.into_json())?,
        None => write!(out, "{name}\n{}", shown.lines("  "))?,
    }
    match problem {
        Some(problem) => Err(Failure::NotWell(problem)),
        None => Ok(()),
    }
}

async fn set(args: &Args, row: &RowArgs, replace: bool, pb: Option<&str>, how: How) -> Result<(), Failure> {
    let endpoint = place::database(args, &row.database)?;
    let place = place::row(&endpoint, row)?;
    let name = named(&endpoint, &place);
    let mut fields = plain_fields(&place.rest)?;
    let message = pb::message(&endpoint.name, &place.table);
    if message.is_some() && fields.get(PB).is_some() {
        return Err(Failure::Use(format!("{PB} of {} is a protobuf message: write --pb JSON", place.table)));
    }
    let members = match (pb, message) {
        (Some(_), None) => {
            return Err(Failure::Use(format!(
                "{} has no protobuf messages that are known here",
                place.table
            )));
        }
        (Some(json), Some(message)) => Some((message, members(json)?)),
        (None, _) if fields.is_empty() => {
            return Err(Failure::Use(format!(
                "what of {name}? Name at least one field as NAME=VALUE (NULL=NULL stands for a row without fields)"
            )));
        }
        (None, _) => None,
    };

    let mut connection = Connection::open(endpoint.clone()).await?;
    let present = match connection.row(&place.table, &place.key).await? {
        Stored::Row(fields) => Some(fields),
        Stored::Absent => None,
        Stored::Other(kind) => return Err(no_row(&name, &kind)),
    };
    if let Some((message, members)) = members {
        let base = present.as_ref().filter(|_| !replace);
        let encoded = (message.encode)(&place.key, base, &members).map_err(Failure::Use)?;
        fields.merge(&encoded);
    }
    let write = if replace { RawWrite::Set(fields) } else { RawWrite::Merge(fields) };
    connection.write(&place.table, &place.key, &write, how).await?;
    done(args, &name, if present.is_some() { "changed" } else { "created" }, how)
}

async fn del(args: &Args, row: &RowArgs, fields: &[String], how: How) -> Result<(), Failure> {
    let endpoint = place::database(args, &row.database)?;
    let place = place::row(&endpoint, row)?;
    place::nothing_follows(&place)?;
    let name = named(&endpoint, &place);
    let mut connection = Connection::open(endpoint.clone()).await?;
    match connection.row(&place.table, &place.key).await? {
        Stored::Other(kind) => return Err(no_row(&name, &kind)),
        // A producer may have written what its consumer did not take yet.
        Stored::Absent if how == How::Table => return Err(absent(&mut connection, &endpoint, &place).await?),
        Stored::Absent | Stored::Row(_) => {}
    }
    if fields.is_empty() {
        connection.write(&place.table, &place.key, &RawWrite::Del, how).await?;
        return done(args, &name, "deleted", how);
    }
    match connection.remove_fields(&place.table, &place.key, fields).await? {
        0 => Err(Failure::NotWell(format!("{name} has none of these fields"))),
        _ => done(args, &name, "changed", how),
    }
}

async fn dump(args: &Args, tables: &TablesArgs) -> Result<(), Failure> {
    let endpoint = checked(args, tables)?;
    let rows = Connection::open(endpoint.clone()).await?.rows(&tables.tables).await?;
    for table in tables.tables.iter().filter(|table| !rows.keys().any(|(found, _)| found == *table)) {
        eprintln!("swss-cli: {} has no rows of {}", endpoint.name, escaped(table));
    }
    let mut out = std::io::stdout().lock();
    let mut all: Map<String, Json> = Map::new();
    for ((table, key), fields) in rows {
        let shown = Shown::new(&endpoint.name, &table, &key, &fields, args.raw);
        if args.json {
            let table = all.entry(table).or_insert_with(|| json!({}));
            if let Some(table) = table.as_object_mut() {
                table.insert(key, shown.into_json());
            }
        } else {
            write!(out, "{}\n{}", escaped(&endpoint.redis_key(&table, &key)), shown.lines("  "))?;
        }
    }
    if args.json {
        writeln!(out, "{}", Json::Object(all))?;
    }
    Ok(())
}

/// Words of the form NAME=VALUE.
fn plain_fields(words: &[String]) -> Result<Fields, Failure> {
    let mut fields = Fields::new();
    for word in words {
        match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                if fields.get(name).is_some() {
                    return Err(Failure::Use(format!("field {name:?} is given twice")));
                }
                fields.set(name, value);
            }
            Some(_) | None => {
                return Err(Failure::Use(format!("{word:?} is no field: write NAME=VALUE")));
            }
        }
    }
    Ok(fields)
}

/// The members of a message: JSON, or the name of a file after `@`.
fn members(json: &str) -> Result<Map<String, Json>, Failure> {
    let text = match json.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file)
            .map_err(|error| Failure::Use(format!("cannot read {file}: {error}")))?,
        None => json.to_owned(),
    };
    match serde_json::from_str(&text) {
        Ok(Json::Object(members)) => Ok(members),
        Ok(_) => Err(Failure::Use("--pb must be a JSON object".to_owned())),
        Err(error) => Err(Failure::Use(format!("--pb is not JSON: {error}"))),
    }
}

fn named(endpoint: &NamedEndpoint, place: &Place) -> String {
    escaped(&endpoint.redis_key(&place.table, &place.key))
}

/// A row is not there: what is, in its place.
async fn absent(
    connection: &mut Connection,
    endpoint: &NamedEndpoint,
    place: &Place,
) -> Result<Failure, Failure> {
    let name = named(endpoint, place);
    let rows = connection.rows(std::slice::from_ref(&place.table)).await?;
    if !rows.is_empty() {
        let keys = some_of(
            rows.into_keys()
                .map(|(_, key)| if key.is_empty() { "--keyless".to_owned() } else { escaped(&key) }),
        );
        return Ok(Failure::NotWell(format!("{name} is not there; rows of {} are {keys}", place.table)));
    }
    let tables: BTreeSet<String> =
        connection.rows(&[]).await?.into_keys().map(|(table, _)| escaped(&table)).collect();
    let db = &endpoint.name;
    Ok(Failure::NotWell(if tables.is_empty() {
        format!("{name} is not there: {db} has no rows at all")
    } else {
        format!("{name} is not there, nor any row of {}; {db} has rows of {}", place.table, some_of(tables))
    }))
}

/// Names, but not so many that they fill a screen.
fn some_of(names: impl IntoIterator<Item = String>) -> String {
    const SHOWN_MAX: usize = 16;
    let mut names = names.into_iter();
    let shown: Vec<String> = names.by_ref().take(SHOWN_MAX).collect();
    match names.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn no_row(name: &str, kind: &str) -> Failure {
    Failure::NotWell(format!("{name} is no row: it is a Redis {kind}"))
}

fn done(args: &Args, name: &str, what: &str, how: How) -> Result<(), Failure> {
    let queued = how == How::ProducerState;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json!({ "row": name, "done": what, "for_consumer": queued }))?;
    } else {
        writeln!(out, "{name} {what}{}", if queued { ", pending for the table's consumer" } else { "" })?;
    }
    Ok(())
}
