//! Golden bytes, tables of good and bad input, stories of one link, and a random world of both ends.

mod deliveries;
mod golden;
mod holdings;
mod hostile;
mod link;
mod model;
mod session;
mod store;
mod whole;

use schema::{Fields, Table};

use crate::RowId;

pub(crate) const SET: Table = Table::DashHaSet;
pub(crate) const SCOPE: Table = Table::DashHaScope;

pub(crate) fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

pub(crate) fn row(table: Table, key: &str) -> RowId {
    (table, key.to_owned())
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
