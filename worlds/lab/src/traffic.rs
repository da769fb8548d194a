//! What an event did to the traffic: how long BFD took to notice, how many packets were lost, how long nobody answered. Pure.
//!
//! **How an outage is measured.** Each lost packet stands for the time until the next packet of its stream was sent, for at most
//! two intervals. So an outage is what was *seen*: a pause of the witness itself is not counted, but told (`unwatched`).
//!
//! **What an outage may be.** BFD's detection time, [`SLACK`], and as long as a forwarding process was kept from running while
//! it lasted, which is the kernel's own account (`schedstat`; and time stolen from the machine). On a machine with room for the
//! lab that is a few milliseconds.
//!
//! **What is not judged.** A DPU or NPU that was not run for hundreds of milliseconds is dead to its BFD peers, which no switch's
//! hardware ever is: then sessions of healthy DPUs fall, and traffic goes wrong as it must. Where more was lost than may be, and
//! a forwarding process was kept from running for longer than [`starved_max`] just before or meanwhile, the verdict is "starved".

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::witness::{INTERVAL, Record};

/// What traffic may take to move beyond BFD's detection time.
pub const SLACK: Duration = Duration::from_millis(100);
/// How far before a loss what starved a process may have caused it: a session that fell, and came up again a second later.
const CAUSE_MAX: Duration = Duration::from_secs(2);
/// A packet that is under way for longer when an event begins was not lost by that event.
const UNDER_WAY_MAX: Duration = Duration::from_secs(1);

/// What an event may do to the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// No packet is lost.
    None,
    /// An outage as long as BFD takes to notice, and a little more.
    Detection,
    /// Whatever it does is told.
    Any,
}

/// How long a forwarding process may be kept from running for the event to be judged. A DPU that shuts down serves 50 ms longer
/// than BFD needs; a session that misses packets for 200 ms is about to fall.
const fn starved_max(may_lose: Loss) -> Duration {
    match may_lose {
        Loss::None => Duration::from_millis(50),
        Loss::Detection | Loss::Any => Duration::from_millis(150),
    }
}

/// What is to be thought of what an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No more than it may.
    Well,
    /// More than it may, on a machine that did not run the processes that forward.
    Starved,
    /// More than it may.
    NotWell,
}

/// Something that the lab does.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it began; it lasts until the next.
    pub at: Instant,
    /// What.
    pub name: String,
    /// What it may do.
    pub may_lose: Loss,
}

/// A BFD session of an NPU that was up and is no longer.
#[derive(Clone, Debug)]
pub struct Fall {
    /// When the NPU's database said so.
    pub at: Instant,
    /// The NPU's switch.
    pub switch: String,
    /// The DPU that it watched.
    pub dpu: String,
}

/// When a session fell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detection {
    /// Who noticed.
    pub switch: String,
    /// What it watched.
    pub dpu: String,
    /// Milliseconds since the event began.
    pub after_ms: u64,
}

/// What an event did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrafficLine {
    /// The event.
    pub event: String,
    /// Whether it did no more than it may.
    pub verdict: Verdict,
    /// What it may do.
    pub may_lose: Loss,
    /// Sessions of NPUs that fell.
    pub detections: Vec<Detection>,
    /// How long detection takes at most: interval times multiplier.
    pub detection_ms_max: u64,
    /// Packets sent, over all streams.
    pub sent: usize,
    /// Packets never answered.
    pub lost: usize,
    /// The longest outage of a stream.
    pub outage_ms: u64,
    /// What it may be, where there is a limit.
    pub outage_ms_max: Option<u64>,
    /// A forwarding process was kept from running for so long during the outage; where more was lost than may be, also just before.
    pub starved_ms: u64,
    /// Nothing was sent for so long, because the witness itself did not run.
    pub unwatched_ms: u64,
}

impl TrafficLine {
    /// For people, in one line.
    pub fn words(&self) -> String {
        let mut words = format!("{}: {} of {} packets lost", self.event, self.lost, self.sent);
        if self.lost > 0 || self.may_lose == Loss::Detection {
            words += &format!(", outage {} ms", self.outage_ms);
        }
        if let (Loss::Detection, Some(limit)) = (self.may_lose, self.outage_ms_max) {
            words += &format!(" (at most {limit})");
        }
        if self.may_lose == Loss::None && self.lost > 0 {
            words += " (none may be)";
        }
        if self.starved_ms > 0 {
            words += &format!(", starved for {} ms", self.starved_ms);
        }
        if self.unwatched_ms > 0 {
            words += &format!(", unwatched for {} ms", self.unwatched_ms);
        }
        if self.verdict == Verdict::Starved {
            words += ": NOT JUDGED, this machine has no room for the lab";
        }
        let each: Vec<String> = self
            .detections
            .iter()
            .map(|fall| format!("{} after {} ms at {}", fall.dpu, fall.after_ms, fall.switch))
            .collect();
        if !each.is_empty() {
            words += &format!("; BFD down: {}", each.join(", "));
        }
        words
    }
}

/// The lines of all events. `detection` is interval times multiplier.
pub fn judge(record: &Record, events: &[Event], falls: &[Fall], detection: Duration) -> Vec<TrafficLine> {
    let streams = record.packets.iter().map(|packet| packet.stream + 1).max().unwrap_or(0);
    let views: Vec<StreamView> = (0..streams).map(|stream| StreamView::of(record, stream)).collect();
    let line = |(index, event): (usize, &Event)| {
        let next = events.get(index + 1);
        let parts: Vec<Part> = views.iter().map(|view| view.part(event, next)).collect();
        let lost_from = parts.iter().filter_map(|part| part.lost_from).min();
        let lost_to = parts.iter().filter_map(|part| part.lost_to).max();
        let kept_since = |before: Duration| match (lost_from, lost_to) {
            (Some(from), Some(to)) => starved(record, from.checked_sub(before).unwrap_or(from), to),
            (_, _) => Duration::ZERO,
        };
        let mut starved = kept_since(Duration::ZERO);
        let ours =
            falls.iter().filter(|fall| fall.at >= event.at && next.is_none_or(|next| fall.at < next.at));
        let detections: Vec<Detection> = ours
            .map(|fall| Detection {
                switch: fall.switch.clone(),
                dpu: fall.dpu.clone(),
                after_ms: millis(fall.at.saturating_duration_since(event.at)),
            })
            .collect();
        let outage = parts.iter().map(|part| part.outage).max().unwrap_or_default();
        let lost = parts.iter().map(|part| part.lost).sum();
        let limit = match event.may_lose {
            Loss::None => Some(Duration::ZERO),
            Loss::Detection => Some(detection + SLACK + starved),
            Loss::Any => None,
        };
        let is_well = match event.may_lose {
            Loss::None => lost == 0,
            // An NPU that noticed nothing had nobody to watch.
            Loss::Detection => !detections.is_empty() && limit.is_none_or(|limit| outage <= limit),
            Loss::Any => true,
        };
        let verdict = if is_well {
            Verdict::Well
        } else {
            starved = kept_since(CAUSE_MAX);
            if starved > starved_max(event.may_lose) { Verdict::Starved } else { Verdict::NotWell }
        };
        TrafficLine {
            event: event.name.clone(),
            verdict,
            may_lose: event.may_lose,
            detections,
            detection_ms_max: millis(detection),
            sent: parts.iter().map(|part| part.sent).sum(),
            lost,
            outage_ms: millis(outage),
            outage_ms_max: limit.map(millis),
            starved_ms: millis(starved),
            unwatched_ms: millis(parts.iter().map(|part| part.unwatched).max().unwrap_or_default()),
        }
    };
    events.iter().enumerate().map(line).collect()
}

/// One packet of a stream, and what it stands for.
#[derive(Clone, Copy, Debug)]
struct Seen {
    sent: Instant,
    answered: Option<Instant>,
    /// Until the next was sent.
    until_next: Duration,
}

impl Seen {
    fn is_lost(&self) -> bool {
        self.answered.is_none()
    }
}

struct StreamView(Vec<Seen>);

/// What an event did to one stream.
#[derive(Default)]
struct Part {
    sent: usize,
    lost: usize,
    outage: Duration,
    unwatched: Duration,
    lost_from: Option<Instant>,
    lost_to: Option<Instant>,
}

impl StreamView {
    fn of(record: &Record, stream: usize) -> Self {
        let packets: Vec<_> = record.packets.iter().filter(|packet| packet.stream == stream).collect();
        let nexts = packets.iter().skip(1).map(|next| Some(next.sent)).chain([None]);
        let seen = packets.iter().zip(nexts).map(|(packet, next)| Seen {
            sent: packet.sent,
            answered: packet.answered,
            until_next: next.map_or(INTERVAL, |next| next.saturating_duration_since(packet.sent)),
        });
        Self(seen.collect())
    }

    /// When the event began for this stream: packets that were under way when it began are its own.
    fn begins(&self, event: &Event) -> Instant {
        let before = self.0.iter().rev().skip_while(|seen| seen.sent >= event.at);
        let under_way = before.take_while(|seen| seen.answered.is_none_or(|at| at >= event.at)).last();
        let first = under_way.map_or(event.at, |seen| seen.sent);
        if event.at.saturating_duration_since(first) <= UNDER_WAY_MAX { first } else { event.at }
    }

    fn part(&self, event: &Event, next: Option<&Event>) -> Part {
        let (from, to) = (self.begins(event), next.map(|next| self.begins(next)));
        let is_ours = |seen: &&Seen| seen.sent >= from && to.is_none_or(|to| seen.sent < to);
        let mut part = Part::default();
        for seen in self.0.iter().filter(is_ours) {
            part.sent += 1;
            let watched = seen.until_next.min(INTERVAL * 2);
            part.unwatched += seen.until_next.saturating_sub(watched);
            if seen.is_lost() {
                part.lost += 1;
                part.outage += watched;
                part.lost_from = part.lost_from.or(Some(seen.sent));
                part.lost_to = Some(seen.sent + seen.until_next);
            }
        }
        part
    }
}

/// How long forwarding processes were kept from running between two instants, as far as it is known: from the last look before
/// to the first look after. They notice and move in parallel, so the one that was kept longest counts.
fn starved(record: &Record, from: Instant, to: Instant) -> Duration {
    let looks = &record.waited;
    let first = looks.iter().rposition(|(at, _)| *at <= from).unwrap_or(0);
    let last = looks.iter().position(|(at, _)| *at >= to).unwrap_or(looks.len().saturating_sub(1));
    let mut kept: BTreeMap<u32, Duration> = BTreeMap::new();
    let mut stolen = Duration::ZERO;
    for pair in looks.get(first..=last).unwrap_or_default().windows(2) {
        let [(_, before), (_, after)] = pair else { continue };
        for (pid, waited) in &after.processes {
            // A process that is new has waited since it began; before that it forwarded nothing.
            let before = before.processes.get(pid).copied().unwrap_or_default();
            *kept.entry(*pid).or_default() += waited.saturating_sub(before);
        }
        stolen += after.stolen.saturating_sub(before.stolen);
    }
    kept.values().max().copied().unwrap_or_default() + stolen
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
