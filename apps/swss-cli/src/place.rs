//! From the command line to a database and a row of it. What looks like a mistake is refused.

use swss::{DatabaseConfig, NamedEndpoint};

use crate::args::{Args, RowArgs};
use crate::failure::Failure;

/// A row as named on the command line.
pub struct Place {
    pub table: String,
    /// Empty for a row without a key.
    pub key: String,
    /// What follows the key.
    pub rest: Vec<String>,
}

/// Where a database is.
///
/// # Errors
/// The files do not tell.
pub fn database(args: &Args, name: &str) -> Result<NamedEndpoint, Failure> {
    let (config, global) = args.files();
    let databases = DatabaseConfig::load(&config, &global)?;
    match databases.named(&args.container, name) {
        // SONiC's names are in capitals: whoever writes them small means the same.
        Err(swss::ConfigError::UnknownDatabase { .. }) if name.chars().any(|c| c.is_ascii_lowercase()) => {
            Ok(databases.named(&args.container, &name.to_ascii_uppercase())?)
        }
        found => Ok(found?),
    }
}

/// The row, whose table and key are named apart.
///
/// # Errors
/// The table has a separator in it, or there is no key.
pub fn row(endpoint: &NamedEndpoint, args: &RowArgs) -> Result<Place, Failure> {
    check_table(endpoint, &args.table)?;
    let table = args.table.clone();
    if args.keyless {
        return Ok(Place { table, key: String::new(), rest: args.words.clone() });
    }
    match args.words.split_first() {
        None => Err(Failure::Use(format!(
            "which row of {table}? Name a key, or --keyless for the row without one (swss-cli dump {} {table} shows all)",
            endpoint.name
        ))),
        Some((key, _)) if key.is_empty() => Err(Failure::Use(format!(
            "the key is empty: is a shell variable unset? The row of {table} without a key is --keyless"
        ))),
        Some((key, rest)) => Ok(Place { table, key: key.clone(), rest: rest.to_vec() }),
    }
}

/// Refuses names of tables that are none.
///
/// # Errors
/// The name is empty or has a separator in it.
pub fn check_table(endpoint: &NamedEndpoint, table: &str) -> Result<(), Failure> {
    if table.is_empty() {
        return Err(Failure::Use("the table's name is empty: is a shell variable unset?".to_owned()));
    }
    if let Some((name, key)) = table.split_once(endpoint.separator) {
        return Err(Failure::Use(format!(
            "{table:?} is table and key in one ({:?} separates them in {}): write {name} {key}",
            endpoint.separator, endpoint.name
        )));
    }
    Ok(())
}

/// Refuses words where none are expected.
///
/// # Errors
/// There are some.
pub fn nothing_follows(place: &Place) -> Result<(), Failure> {
    match place.rest.first() {
        None => Ok(()),
        Some(word) => Err(Failure::Use(format!("{word:?}: one key, and nothing after it"))),
    }
}
