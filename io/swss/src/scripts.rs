//! The Lua scripts. Their texts are private to this crate; their effects are SONiC's
//! (`reference/swss-wire.md` 3).

use redis::Script;

/// All scripts; loaded into the server at need, and again after it forgot them.
#[derive(Debug)]
pub(crate) struct Scripts {
    /// Takes what is pending for a consumer.
    pub(crate) pop: Script,
    /// Carries out writes.
    pub(crate) write: Script,
    /// Deletes every key, then flushes.
    pub(crate) delete_all: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            pop: Script::new(include_str!("lua/pop.lua")),
            write: Script::new(include_str!("lua/write.lua")),
            delete_all: Script::new(include_str!("lua/delete_all.lua")),
        }
    }
}
