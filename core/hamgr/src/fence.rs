//! The fence: whether a HA scope configuration belongs to the DPU's present life (P3).

use schema::appl_db::HaScopeConfig;
use schema::state_db::HaScopeFence;

use crate::input::RestartPolicy;

/// What the fence says of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It was accepted in this life.
    Live,
    /// It is to be recorded as accepted in this life, and is live once that is confirmed.
    Accept(HaScopeFence),
    /// It was accepted in an earlier life.
    Stale { recorded: u64, present: u64 },
    /// The DPU is not up: nothing is decided.
    Undecided,
}

/// Judges a configuration by its record. `present` is the DPU's life, `None` while it is not up.
pub(crate) fn judge(
    record: Option<&HaScopeFence>,
    config_digest: &str,
    present: Option<u64>,
    policy: RestartPolicy,
) -> Verdict {
    let Some(incarnation) = present else { return Verdict::Undecided };
    let accept = || Verdict::Accept(HaScopeFence { incarnation, config_digest: config_digest.to_owned() });
    match record {
        None => accept(),
        Some(record) if record.config_digest != config_digest => accept(),
        Some(record) if record.incarnation == incarnation => Verdict::Live,
        Some(record) => match policy {
            RestartPolicy::Controller => {
                Verdict::Stale { recorded: record.incarnation, present: incarnation }
            }
            RestartPolicy::Autonomous => accept(),
        },
    }
}

/// A digest of all that makes a configuration another one. Approvals do not: a controller that only approves
/// has not looked at the DPU's restart.
pub(crate) fn digest(config: &HaScopeConfig) -> String {
    let HaScopeConfig {
        version,
        disabled,
        owner,
        ha_set_id,
        desired_ha_state,
        approved_pending_operation_ids: _,
    } = config;
    let ha_set_id = ha_set_id.as_ref().map_or("", |id| id.as_str());
    let parts = [version.as_str(), if *disabled { "off" } else { "on" }, owner.as_str(), ha_set_id];
    let mut hash = Fnv1a::new();
    for part in parts.into_iter().chain([desired_ha_state.as_str()]) {
        hash.write(&(part.len() as u64).to_be_bytes());
        hash.write(part.as_bytes());
    }
    format!("{:032x}", hash.0)
}

/// FNV-1a with 128 bits: stable across versions of Rust and of this program, as a durable record needs.
struct Fnv1a(u128);

impl Fnv1a {
    fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u128::from(*byte);
            self.0 = self.0.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}
