//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use shell::DatabaseArgs;

/// Reads, writes and follows any table of SONiC's databases
///
/// Exit codes: 0 well, 1 the row is not there or not what was expected, 2 wrong use, 3 could not reach the database.
#[derive(Parser, Debug)]
#[command(name = "swss-cli", version)]
pub struct Args {
    #[command(flatten)]
    pub databases: DatabaseArgs,

    /// The container that hosts the database: dpu0, dpu1, ... [default: the host]
    #[arg(
        short = 'n',
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub container: String,

    /// Write JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,

    /// Show protobuf messages as bytes
    #[arg(long, global = true)]
    pub raw: bool,

    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show one row, or one field of it
    Get {
        #[command(flatten)]
        row: RowArgs,
        /// Show only the value of this field
        #[arg(long, value_name = "NAME")]
        field: Option<String>,
    },
    /// Write fields of a row; other fields stay
    Set {
        #[command(flatten)]
        row: RowArgs,
        /// Remove the fields that are not named
        #[arg(long)]
        replace: bool,
        /// Write the protobuf message of the row: JSON, or @FILE; members that are not named stay, or have their default
        /// where there is no row or with --replace
        #[arg(long, value_name = "JSON")]
        pb: Option<String>,
        /// Write as a ProducerStateTable does, for the table's one consumer
        #[arg(long)]
        producer: bool,
    },
    /// Remove a row, or some of its fields
    Del {
        #[command(flatten)]
        row: RowArgs,
        /// Remove only this field; may be repeated
        #[arg(long, value_name = "NAME", conflicts_with = "producer")]
        field: Vec<String>,
        /// Remove as a ProducerStateTable does, for the table's one consumer
        #[arg(long)]
        producer: bool,
    },
    /// Show all rows of tables, then every change, until stopped
    Watch {
        #[command(flatten)]
        tables: TablesArgs,
        /// Only the row of this key
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Leave after so many changes, the initial rows not counted
        #[arg(long, value_name = "N")]
        changes: Option<u64>,
    },
    /// Show all rows of tables
    Dump {
        #[command(flatten)]
        tables: TablesArgs,
    },
}

/// A row.
#[derive(ClapArgs, Debug)]
pub struct RowArgs {
    /// For example APPL_DB
    pub database: String,
    /// For example DASH_HA_SET_CONFIG_TABLE
    pub table: String,
    /// The row's key; for `set` followed by fields, each NAME=VALUE
    #[arg(value_name = "KEY [NAME=VALUE]")]
    pub words: Vec<String>,
    /// The row without a key, such as COUNTERS_ENI_NAME_MAP; no KEY is given then
    #[arg(long)]
    pub keyless: bool,
}

/// Tables of a database.
#[derive(ClapArgs, Debug)]
pub struct TablesArgs {
    /// For example DPU_APPL_DB
    pub database: String,
    /// All tables if none is named
    pub tables: Vec<String>,
}

impl Args {
    /// The configuration files: the host's, and the list of containers.
    pub fn files(&self) -> (PathBuf, PathBuf) {
        (self.databases.database_config.clone(), self.databases.global_path())
    }
}
