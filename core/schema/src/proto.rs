//! Messages of the two configuration tables, generated from our own `.proto` files.
#![allow(missing_docs, clippy::doc_markdown)]

pub mod types {
    include!(concat!(env!("OUT_DIR"), "/dash.types.rs"));
}

pub mod ha_set_config {
    include!(concat!(env!("OUT_DIR"), "/dash.ha_set_config.rs"));
}

pub mod ha_scope_config {
    include!(concat!(env!("OUT_DIR"), "/dash.ha_scope_config.rs"));
}
