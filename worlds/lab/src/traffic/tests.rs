use std::collections::BTreeMap;

use super::*;
use crate::witness::{Packet, Waited};

const DETECTION: Duration = Duration::from_millis(300);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct Story {
    zero: Instant,
    record: Record,
}

impl Story {
    /// One stream, a packet each 10 ms, of which `lost` says by send time which are never answered.
    fn new(sends: impl Iterator<Item = u64>, lost: impl Fn(u64) -> bool) -> Self {
        let zero = Instant::now();
        let packet = |at: u64| {
            let sent = zero + ms(at);
            Packet { stream: 0, sent, answered: (!lost(at)).then(|| sent + ms(1)) }
        };
        let packets = sends.map(packet).collect();
        Self { zero, record: Record { packets, waited: Vec::new() } }
    }

    fn waited(mut self, looks: &[(u64, u64)]) -> Self {
        let look = |&(at, waited): &(u64, u64)| {
            let processes = BTreeMap::from([(7, ms(waited))]);
            (self.zero + ms(at), Waited { processes, stolen: Duration::ZERO })
        };
        self.record.waited = looks.iter().map(look).collect();
        self
    }

    fn judge(&self, events: &[(u64, Loss)], falls: &[u64]) -> Vec<TrafficLine> {
        let event = |&(at, may_lose): &(u64, Loss)| Event {
            at: self.zero + ms(at),
            name: format!("at {at}"),
            may_lose,
        };
        let events: Vec<Event> = events.iter().map(event).collect();
        let fall = |at: &u64| Fall {
            at: self.zero + ms(*at),
            switch: "switch0".to_owned(),
            dpu: "switch0 DPU0".to_owned(),
        };
        let falls: Vec<Fall> = falls.iter().map(fall).collect();
        judge(&self.record, &events, &falls, DETECTION)
    }
}

fn every_10_ms(to: u64) -> impl Iterator<Item = u64> {
    (0..to).step_by(10)
}

#[test]
fn an_outage_is_the_time_that_lost_packets_stand_for() {
    let story = Story::new(every_10_ms(1000), |at| (200..500).contains(&at));
    let lines = story.judge(&[(0, Loss::None), (200, Loss::Detection)], &[480]);
    assert_eq!((lines[0].verdict, lines[0].lost, lines[0].sent), (Verdict::Well, 0, 20));
    assert_eq!((lines[1].verdict, lines[1].lost, lines[1].outage_ms), (Verdict::Well, 30, 300));
    assert_eq!(lines[1].detections[0].after_ms, 280);
    assert_eq!(lines[1].outage_ms_max, Some(400));
}

#[test]
fn one_lost_packet_is_too_many_where_none_may_be_lost() {
    let story = Story::new(every_10_ms(1000), |at| at == 500);
    let lines = story.judge(&[(0, Loss::None)], &[]);
    assert_eq!((lines[0].verdict, lines[0].lost, lines[0].outage_ms), (Verdict::NotWell, 1, 10));
}

#[test]
fn an_outage_beyond_detection_and_slack_is_too_long() {
    let story = Story::new(every_10_ms(1000), |at| (200..620).contains(&at));
    let lines = story.judge(&[(200, Loss::Detection)], &[480]);
    assert_eq!(
        (lines[0].verdict, lines[0].outage_ms, lines[0].outage_ms_max),
        (Verdict::NotWell, 420, Some(400))
    );
}

#[test]
fn a_starved_machine_is_not_taken_for_a_slow_system() {
    let looks = [(0, 0), (190, 5), (400, 5), (610, 55), (660, 55), (900, 500)];
    let story = Story::new(every_10_ms(1000), |at| (200..620).contains(&at)).waited(&looks);
    let lines = story.judge(&[(200, Loss::Detection)], &[480]);
    assert_eq!(
        (lines[0].verdict, lines[0].starved_ms, lines[0].outage_ms_max),
        (Verdict::Well, 50, Some(450))
    );
}

#[test]
fn a_pause_of_the_witness_is_told_and_not_counted() {
    let sends = every_10_ms(300).chain((600..1000).step_by(10));
    let story = Story::new(sends, |at| (200..650).contains(&at));
    let lines = story.judge(&[(200, Loss::Detection)], &[480]);
    // 9 packets of 10 ms, one that stands for 20 ms instead of 310, and 5 of 10 ms.
    assert_eq!((lines[0].outage_ms, lines[0].unwatched_ms), (160, 290));
}

#[test]
fn a_packet_that_was_under_way_when_the_event_began_is_lost_by_the_event() {
    let story = Story::new(every_10_ms(1000), |at| (190..400).contains(&at));
    let lines = story.judge(&[(0, Loss::None), (195, Loss::Detection)], &[480]);
    assert_eq!((lines[0].verdict, lines[0].lost), (Verdict::Well, 0));
    assert_eq!((lines[1].verdict, lines[1].lost), (Verdict::Well, 21));
}

#[test]
fn an_outage_that_lasts_when_the_next_event_begins_is_not_its_doing() {
    let story = Story::new(every_10_ms(4000), |at| (200..3000).contains(&at));
    let lines = story.judge(&[(200, Loss::Any), (2000, Loss::Any)], &[]);
    assert_eq!(lines.iter().map(|line| line.lost).collect::<Vec<_>>(), [180, 100]);
}

#[test]
fn a_death_that_no_npu_noticed_is_not_well() {
    let story = Story::new(every_10_ms(1000), |_| false);
    let lines = story.judge(&[(200, Loss::Detection)], &[]);
    assert_eq!(lines[0].verdict, Verdict::NotWell);
}

#[test]
fn what_a_machine_without_room_does_is_not_judged() {
    let looks = |kept: u64| [(0, 0), (400, kept), (3000, kept)];
    let lost_at_500 = || Story::new(every_10_ms(1000), |at| at == 500);
    let verdict = |kept, may_lose| {
        let story = lost_at_500().waited(&looks(kept));
        story.judge(&[(0, may_lose)], &[])[0].verdict
    };
    assert_eq!(verdict(50, Loss::None), Verdict::NotWell);
    assert_eq!(verdict(51, Loss::None), Verdict::Starved);
    assert_eq!(verdict(150, Loss::Detection), Verdict::NotWell);
    assert_eq!(verdict(151, Loss::Detection), Verdict::Starved);
    assert_eq!(verdict(1000, Loss::Any), Verdict::Well);
}
