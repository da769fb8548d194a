//! The rows of all tables.

use std::fmt::Debug;

use schema::appl_db::{HaScopeConfig, HaSetConfig, NeighResolve, PortState, VnetRouteTunnel};
use schema::chassis_state_db::DpuState;
use schema::config_db::{Dpu, HaGlobalConfig, LoopbackInterface, Port, RemoteDpu, Vdpu};
use schema::dpu_appl_db::{BfdSession, HaScope, HaSet};
use schema::dpu_appl_state_db::{HaScopeResult, HaSetResult};
use schema::dpu_state_db::{BfdProbeState, HaSetState};
use schema::state_db::{
    BfdSoftwareSession, ChassisMidplane, DpuBfdProbeState, DpuResetInfo, HaScopeFence, NpuBfdSession,
    SystemReady, VnetRouteTunnelState,
};
use schema::{Fields, Row, Table, dpu_state_db, state_db};

/// The longest text of an error about a row, in characters: a log line, however bad the row.
const ERROR_CHARS_MAX: usize = 1000;

/// The protobuf message of a `DASH_HA_SET_CONFIG_TABLE` row.
///
/// # Panics
/// The decoder panics, or its own encoder's message means something else to it.
pub fn ha_set_config(data: &[u8]) {
    one::<HaSetConfig>("haset0", &pb(data));
}

/// The protobuf message of a `DASH_HA_SCOPE_CONFIG_TABLE` row.
///
/// # Panics
/// As [`ha_set_config`].
pub fn ha_scope_config(data: &[u8]) {
    one::<HaScopeConfig>("vdpu0:haset0", &pb(data));
}

/// A row of any table: a byte that picks the table, then key, name, value, name, value, … with a NUL after each
/// (names that are not UTF-8 are left out here; readers escape them).
///
/// # Panics
/// As [`ha_set_config`], for any table.
pub fn rows(data: &[u8]) {
    let Some((table, rest)) = data.split_first() else { return };
    let mut parts = rest.split(|byte| *byte == 0);
    let key = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let mut fields = Fields::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        if let Ok(name) = std::str::from_utf8(name) {
            fields.set(name, value.to_vec());
        }
    }
    let (_, decode) = DECODERS[usize::from(*table) % DECODERS.len()];
    decode(&key, &fields);
}

type Decoder = fn(&str, &Fields);

macro_rules! decoders {
    ($($row:ty,)*) => { &[$( (<$row as Row>::TABLE, one::<$row>), )*] };
}

/// Of every table one. New ones go to the end: the corpus names them by number.
const DECODERS: &[(Table, Decoder)] = decoders![
    HaSetConfig,
    HaScopeConfig,
    VnetRouteTunnel,
    NeighResolve,
    PortState,
    DpuState,
    Dpu,
    RemoteDpu,
    Vdpu,
    HaGlobalConfig,
    LoopbackInterface,
    Port,
    HaSet,
    HaScope,
    BfdSession,
    HaSetResult,
    HaScopeResult,
    HaSetState,
    dpu_state_db::HaScopeState,
    BfdProbeState,
    state_db::HaScopeState,
    DpuResetInfo,
    HaScopeFence,
    BfdSoftwareSession,
    DpuBfdProbeState,
    ChassisMidplane,
    SystemReady,
    NpuBfdSession,
    VnetRouteTunnelState,
];

/// The tables whose rows [`rows`] decodes.
pub fn tables() -> impl Iterator<Item = Table> {
    DECODERS.iter().map(|(table, _)| *table)
}

/// A row that is understood means the same when it is written and read again; a row that is not gives a
/// short error.
fn one<R: Row + Debug>(key: &str, fields: &Fields) {
    let (understood, errors) = R::parse_reporting(key, fields);
    for error in errors {
        let text = error.to_string();
        assert!(text.chars().count() < ERROR_CHARS_MAX, "{text}");
    }
    if let Some((key, row)) = understood {
        let (text, fields) = (R::key_text(&key), row.to_fields());
        assert_eq!(R::parse(&text, &fields).as_ref(), Ok(&(key, row)), "written as {text:?} {fields:?}");
    }
}

fn pb(data: &[u8]) -> Fields {
    [("pb", data.to_vec())].into_iter().collect()
}
