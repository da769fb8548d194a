//! A healthy pair passes every check; each single corruption of it is found by the check it belongs to.

mod audit;
mod corruptions;
mod pair;
