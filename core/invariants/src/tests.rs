//! A healthy pair passes every check; each single corruption of it is found by the check it belongs to.

mod corruptions;
mod pair;
