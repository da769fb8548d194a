//! What is said of a pair: golden texts. After a wanted change: `BLESS=1 cargo test -p hactl`, and read the diff.

#![allow(clippy::unwrap_used, clippy::panic)]

mod alarms;
mod fixture;
mod texts;
mod words;
