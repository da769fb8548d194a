//! The difference between a row as it is and as one of its writers wants it.

use schema::{Fields, LinkState, PmonTime, Scalar, WallMs};

/// Field names of `DPU_STATE` (`reference/pmon.md` 1.2). A merge names fields one by one, so the names are needed here.
pub(crate) mod name {
    pub(crate) const ID: &str = "id";
    pub(crate) const MIDPLANE_STATE: &str = "dpu_midplane_link_state";
    pub(crate) const MIDPLANE_REASON: &str = "dpu_midplane_link_reason";
    pub(crate) const MIDPLANE_TIME: &str = "dpu_midplane_link_time";
    pub(crate) const CONTROL_PLANE_STATE: &str = "dpu_control_plane_state";
    pub(crate) const CONTROL_PLANE_TIME: &str = "dpu_control_plane_time";
    pub(crate) const DATA_PLANE_STATE: &str = "dpu_data_plane_state";
    pub(crate) const DATA_PLANE_TIME: &str = "dpu_data_plane_time";
    pub(crate) const READY_STATUS: &str = "ready_status";
    pub(crate) const RECOVERY_STATUS: &str = "recovery_status";
    pub(crate) const RESET_COUNT: &str = "reset_count";
    pub(crate) const LAST_DOWN_TIME: &str = "last_down_time";
    pub(crate) const LAST_READY_TIME: &str = "last_ready_time";
    pub(crate) const BOOT_ID: &str = "boot_id";
}

/// Whether a field holds a time: what it says follows the clock and is no reason to write.
pub(crate) fn is_time(name: &str) -> bool {
    name.ends_with("_time")
}

/// Fields to write, gathered against the fields that are there.
pub(crate) struct Patch<'a> {
    present: Option<&'a Fields>,
    now: String,
    fields: Fields,
}

impl<'a> Patch<'a> {
    /// No difference yet from `present`, the row as it is (`None`: there is no row).
    pub(crate) fn on(present: Option<&'a Fields>, wall: WallMs) -> Self {
        Self { present, now: PmonTime::from(wall).to_text(), fields: Fields::new() }
    }

    fn present(&self, name: &str) -> Option<&str> {
        self.present.and_then(|fields| fields.text(name))
    }

    /// Whether the row has exactly `text` in `name`, this patch not counted.
    pub(crate) fn has(&self, name: &str, text: &str) -> bool {
        self.present(name) == Some(text)
    }

    /// Whether the row has anything in `name`, this patch not counted.
    pub(crate) fn has_any(&self, name: &str) -> bool {
        self.present(name).is_some()
    }

    /// The plane's state as it will be once this patch is written; `None` if unknown.
    pub(crate) fn plane(&self, name: &str) -> Option<LinkState> {
        let text = self.fields.text(name).or_else(|| self.present(name))?;
        LinkState::from_text(text)
    }

    /// Writes `text` whatever the row says.
    pub(crate) fn set(&mut self, name: &str, text: &str) {
        self.fields.set(name, text);
    }

    /// Writes `text` if the row says anything else.
    pub(crate) fn want(&mut self, name: &str, text: &str) {
        if !self.has(name, text) {
            self.set(name, text);
        }
    }

    /// Writes `text` if the row says nothing, or nothing that reads as a `T`.
    pub(crate) fn want_some<T: Scalar>(&mut self, name: &str, text: &str) {
        if self.present(name).and_then(T::from_text).is_none() {
            self.set(name, text);
        }
    }

    /// Writes the present time.
    pub(crate) fn stamp(&mut self, name: &str) {
        self.fields.set(name, self.now.clone());
    }

    /// Writes the present time if the row has none that can be read. SONiC's hamgrd drops a whole row over one time that
    /// cannot (`reference/pmon.md` 1.9).
    pub(crate) fn want_time(&mut self, name: &str) {
        if self.present(name).and_then(PmonTime::from_text).is_none() {
            self.stamp(name);
        }
    }

    /// Replaces a time that is there and cannot be read.
    pub(crate) fn mend_time(&mut self, name: &str) {
        if self.present(name).is_some() {
            self.want_time(name);
        }
    }

    /// The fields to write; empty if the row is as it should be.
    pub(crate) fn into_fields(self) -> Fields {
        self.fields
    }
}
