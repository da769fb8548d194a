//! Many seeds on several threads. Each seed is simulated by one thread, so its history is the same on any machine.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// Runs many seeds.
///
/// `each` is called for every seed of `seeds`, on `threads` threads at once; what it returns is handed to `done`, one
/// at a time, in the order in which they end. No further seed is begun once `done` has said `false`.
pub fn sweep<T: Send>(
    seeds: std::ops::Range<u64>,
    threads: usize,
    each: impl Fn(u64) -> T + Sync,
    done: impl FnMut(u64, T) -> bool + Send,
) {
    let next = AtomicU64::new(seeds.start);
    let is_over = AtomicBool::new(false);
    let done = Mutex::new(done);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || is_over.load(Ordering::Relaxed) {
                return;
            }
            let outcome = each(seed);
            // A thread that panics takes the whole sweep down with it, so the lock is never poisoned for long.
            let Ok(mut done) = done.lock() else { return };
            if !done(seed, outcome) {
                is_over.store(true, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
}

/// A thread per core, as far as the system tells.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
