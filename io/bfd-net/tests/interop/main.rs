//! Ours against FRR's `bfdd`, in network namespaces, every packet judged by `tshark`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod many;
mod ours;
mod stories;
