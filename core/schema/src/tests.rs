//! Golden rows exactly as SONiC writes them, bad input of every kind, and properties over random rows.

mod generator;
mod golden;
mod golden_config;
mod golden_dpu;
mod golden_state;
mod keys;
mod properties;
mod protobuf;
mod values;
