//! Servers over loopback.

mod loopback;
