#![doc = include_str!("../README.md")]

mod approval;
mod asic;
mod bfd;
mod calls;
mod io;
mod objects;
mod orch;
mod rows;
mod take;

pub use asic::{
    Asic, AsicAnswer, AsicCall, AsicEvent, AsicOp, CallId, CallKind, HaScopeAttribute, HaScopeAttributes,
    HaScopeEventKind, HaSetAttribute, HaSetAttributes, Oid, SaiStatus, Verdict, verdict,
};
pub use io::{Effect, Input, Note, Place};
pub use orch::{Capabilities, HaOrch};

#[cfg(test)]
mod tests;
