//! Any table of any database, by name: what a tool needs that shall show also what our schema does not know.
//!
//! Rows are named by texts here, not by [`schema::Table`]. [`Connection`] asks and writes once, [`Watch`] follows. The
//! daemons have no use for it: they read and write typed tables.
//!
//! ```no_run
//! # use swss::NamedEndpoint;
//! # async fn example(endpoint: NamedEndpoint) -> Result<(), swss::Error> {
//! let mut connection = swss::raw::Connection::open(endpoint).await?;
//! for ((table, key), fields) in connection.rows(&["COUNTERS".to_owned()]).await? {
//!     println!("{table} {key}: {fields:?}");
//! }
//! # Ok(()) }
//! ```

mod connection;
mod tables;
mod watch;

pub use connection::{Connection, How, RawWrite, Stored};
pub use tables::RowName;
pub use watch::{Changed, Seen, Watch};
