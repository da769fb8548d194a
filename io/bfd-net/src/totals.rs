//! What the server counts over all sessions, readable at any time and from anywhere.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bfd::{DropReason, Drops};

/// Counters since the start. Reading them disturbs nobody.
#[derive(Debug, Default)]
pub struct Totals {
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) send_failures: AtomicU64,
    pub(crate) bind_failures: AtomicU64,
    pub(crate) kernel_drops: AtomicU64,
    pub(crate) unreadable: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) ups: AtomicU64,
    pub(crate) downs: AtomicU64,
    pub(crate) sessions: AtomicU64,
    pub(crate) sessions_up: AtomicU64,
    drops: [AtomicU64; DropReason::ALL.len()],
}

impl Totals {
    /// Every counter with its name and meaning; `bfd_drops` by reason is in [`Totals::drops`].
    pub fn counters(&self) -> [(&'static str, &'static str, u64); 9] {
        let rows: [(&str, &str, &AtomicU64); 9] = [
            ("bfd_received", "BFD datagrams received", &self.received),
            ("bfd_sent", "BFD packets sent", &self.sent),
            ("bfd_send_failures", "BFD packets that the kernel would not send", &self.send_failures),
            ("bfd_bind_failures", "Times that a BFD socket could not be bound", &self.bind_failures),
            ("bfd_kernel_drops", "BFD datagrams dropped for want of room in the socket", &self.kernel_drops),
            ("bfd_unreadable", "BFD datagrams without TTL or addresses", &self.unreadable),
            ("bfd_refused", "Sessions that cannot be as asked for", &self.refused),
            ("bfd_ups", "Times that a session came up", &self.ups),
            ("bfd_downs", "Times that a session left the state Up", &self.downs),
        ];
        rows.map(|(name, meaning, counter)| (name, meaning, counter.load(Relaxed)))
    }

    /// Dropped packets by reason, sessions that are gone included.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.iter().zip(&self.drops).map(|(reason, count)| (*reason, count.load(Relaxed)))
    }

    /// Sessions that there are, those that only say farewell included.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Relaxed)
    }

    /// Sessions that are up.
    pub fn sessions_up(&self) -> u64 {
        self.sessions_up.load(Relaxed)
    }

    /// Packets sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Datagrams received.
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Times that a session left the state Up.
    pub fn downs(&self) -> u64 {
        self.downs.load(Relaxed)
    }

    pub(crate) fn set_drops(&self, drops: &Drops) {
        for (reason, count) in drops.iter() {
            if let Some(slot) = DropReason::ALL.iter().position(|other| *other == reason)
                && let Some(total) = self.drops.get(slot)
            {
                total.store(count, Relaxed);
            }
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}
