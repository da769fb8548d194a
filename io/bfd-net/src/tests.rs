//! The registry against the sessions it drives, and servers over loopback.

mod loopback;
mod registry;
