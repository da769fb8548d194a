//! Lives of a DPU: which one it is in, and how a new one is noticed (DESIGN 5, "Incarnation").
//!
//! ```text
//!            Up: first life                     Down: reset_status
//!  no row ------------------> ready (life N) --------------------> not ready (life N)
//!    |                          ^  |  ^                                   |
//!    | Down: nobody was         |  |  | Up, same boot id, rows there:     |
//!    | reset (G8)               |  |  +---------- same life (a flap) -----+
//!    v                          |  | another boot id or emptied database: |
//!  not ready (no life) ---------+  +-> ready (life N+1), reset_status     |
//!                  Up                                                     v
//!                               ready (life N+1) <- Up, no or another boot id, or emptied database
//! ```
//!
//! The unknown changes nothing. Times of `DPU_STATE` are no evidence: pmon moves them for a lost data plane
//! and for its own restart too.

use schema::WallMs;
use schema::chassis_state_db::DpuHealth;
use schema::state_db::DpuResetInfo;
use serde::{Deserialize, Serialize};

/// How a new life was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The DPU was never seen up before.
    FirstSeen,
    /// It was down, and publishes no boot id that would tell a flap from a restart.
    CameBack,
    /// It published another boot id.
    BootId,
    /// DPU_APPL_DB was emptied.
    Emptied,
}

/// What is known of our HA set and HA scope rows in DPU_APPL_DB during this life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Evidence {
    /// Nothing was read since this process started: rows that the fence says were applied must be there.
    Unread,
    /// None were there for a good reason: they were not written yet, or we removed them.
    Absent,
    /// There were some: if none is left, somebody emptied the database.
    Present,
    /// They were seen to vanish: somebody emptied the database. What is there now was written since.
    Vanished,
}

/// A DPU's life, as far as this process knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// The row that STATE_DB ought to hold; `None` until the DPU was known up or down.
    pub info: Option<DpuResetInfo>,
    pub evidence: Evidence,
    /// Whether the present life began with an emptied database, by a boot that has not said its name yet.
    began_emptied: bool,
    /// Whether a configuration was ever accepted in the present life.
    pub was_used: bool,
}

/// What the databases tell of a DPU right now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub health: DpuHealth,
    pub boot_id: Option<&'a str>,
    /// Rows of ours that were applied in this life are all gone from DPU_APPL_DB.
    pub emptied: bool,
    /// A configuration was accepted in this life.
    pub accepted: bool,
}

/// What became of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    NotReady,
    Ready { new_life: Option<(Option<u64>, u64, Cause)> },
}

impl Default for Life {
    fn default() -> Self {
        Self { info: None, evidence: Evidence::Unread, began_emptied: false, was_used: false }
    }
}

impl Life {
    pub(crate) fn incarnation(&self) -> Option<u64> {
        self.info.as_ref()?.incarnation
    }

    /// Moves to where `seen` says the DPU is; `None` if it is there already.
    pub(crate) fn advance(&mut self, seen: Seen<'_>, wall: WallMs) -> Option<Turn> {
        self.was_used |= seen.accepted;
        let ready = self.info.as_ref().and_then(|info| info.dpu_ready).unwrap_or(false);
        match (seen.health, ready) {
            (DpuHealth::Unknown, _) => None,
            (DpuHealth::Down, false) => self.first_seen_down(wall),
            (DpuHealth::Down, true) => {
                let info = self.info.as_mut()?;
                info.dpu_ready = Some(false);
                info.last_dpu_readiness_update_ms = Some(wall);
                raise_reset(info, wall);
                Some(Turn::NotReady)
            }
            (DpuHealth::Up, false) => {
                let cause = self.cause_of_coming_back(seen);
                let info = self.info.get_or_insert_with(nothing_known);
                info.dpu_ready = Some(true);
                info.last_dpu_readiness_update_ms = Some(wall);
                let new_life = cause.map(|cause| self.begin(cause, wall));
                self.adopt_boot_id(seen.boot_id);
                Some(Turn::Ready { new_life })
            }
            (DpuHealth::Up, true) => {
                let Some(cause) = self.cause_while_ready(seen) else {
                    self.adopt_boot_id(seen.boot_id);
                    return None;
                };
                let new_life = Some(self.begin(cause, wall));
                self.adopt_boot_id(seen.boot_id);
                if let Some(info) = self.info.as_mut() {
                    raise_reset(info, wall);
                }
                Some(Turn::Ready { new_life })
            }
        }
    }

    /// A DPU that is first seen down was not reset: it may never have been up.
    fn first_seen_down(&mut self, wall: WallMs) -> Option<Turn> {
        let info = self.info.get_or_insert_with(nothing_known);
        if info.dpu_ready.is_some() {
            return None;
        }
        info.dpu_ready = Some(false);
        info.last_dpu_readiness_update_ms = Some(wall);
        Some(Turn::NotReady)
    }

    fn cause_of_coming_back(&self, seen: Seen<'_>) -> Option<Cause> {
        let boot_id = self.info.as_ref().and_then(|info| info.boot_id.as_deref());
        match (self.incarnation(), boot_id, seen.boot_id) {
            (None, _, _) => Some(Cause::FirstSeen),
            (Some(_), Some(before), Some(now)) if before != now => Some(Cause::BootId),
            (Some(_), Some(_), Some(_)) => seen.emptied.then_some(Cause::Emptied),
            (Some(_), None, _) | (Some(_), _, None) => Some(Cause::CameBack),
        }
    }

    fn cause_while_ready(&self, seen: Seen<'_>) -> Option<Cause> {
        let info = self.info.as_ref()?;
        if info.incarnation.is_none() {
            return Some(Cause::FirstSeen);
        }
        if let (Some(before), Some(now)) = (info.boot_id.as_deref(), seen.boot_id)
            && before != now
        {
            // A boot empties the databases before it publishes its id: what was noticed in two steps is one
            // restart, as long as nothing was built on the first step. The next id is another boot's.
            let same_restart = self.began_emptied && !self.was_used && info.reset_status;
            return (!same_restart).then_some(Cause::BootId);
        }
        seen.emptied.then_some(Cause::Emptied)
    }

    /// Begins a life: its number is the time in ms, and greater than every earlier one.
    fn begin(&mut self, cause: Cause, wall: WallMs) -> (Option<u64>, u64, Cause) {
        let info = self.info.get_or_insert_with(nothing_known);
        let from = info.incarnation;
        let noticed = u64::try_from(wall.0).unwrap_or(0);
        let to = noticed.max(from.map_or(0, |from| from.saturating_add(1)));
        info.incarnation = Some(to);
        self.evidence = Evidence::Absent;
        self.was_used = false;
        self.began_emptied = match cause {
            Cause::Emptied => true,
            Cause::FirstSeen | Cause::CameBack | Cause::BootId => false,
        };
        (from, to, cause)
    }

    fn adopt_boot_id(&mut self, boot_id: Option<&str>) {
        if let (Some(info), Some(boot_id)) = (self.info.as_mut(), boot_id)
            && info.boot_id.as_deref() != Some(boot_id)
        {
            self.began_emptied &= info.boot_id.is_none();
            info.boot_id = Some(boot_id.to_owned());
        }
    }

    /// Takes over that somebody else dealt with the reset. A row from before the reset says nothing of it.
    pub(crate) fn respect_clear(&mut self, read: &DpuResetInfo) -> bool {
        let Some(info) = self.info.as_mut() else { return false };
        let cleared = info.reset_status && !read.reset_status && read.timestamp_ms == info.timestamp_ms;
        if cleared {
            info.reset_status = false;
        }
        cleared
    }
}

fn raise_reset(info: &mut DpuResetInfo, wall: WallMs) {
    info.reset_status = true;
    info.timestamp_ms = Some(wall);
    info.last_reset_status_update_ms = Some(wall);
}

fn nothing_known() -> DpuResetInfo {
    DpuResetInfo {
        reset_status: false,
        timestamp_ms: None,
        dpu_id: None,
        vdpu_id: None,
        last_reset_status_update_ms: None,
        dpu_ready: None,
        last_dpu_readiness_update_ms: None,
        incarnation: None,
        boot_id: None,
    }
}
