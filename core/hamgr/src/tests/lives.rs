//! Lives of a DPU, transition by transition.

use schema::WallMs;
use schema::chassis_state_db::DpuHealth::{self, Down, Unknown, Up};
use schema::state_db::DpuResetInfo;

use crate::incarnation::{Cause, Life, Seen, Turn};

fn info(ready: Option<bool>, incarnation: Option<u64>, boot_id: Option<&str>) -> DpuResetInfo {
    DpuResetInfo {
        reset_status: false,
        timestamp_ms: None,
        dpu_id: None,
        vdpu_id: None,
        last_reset_status_update_ms: None,
        dpu_ready: ready,
        last_dpu_readiness_update_ms: None,
        incarnation,
        boot_id: boot_id.map(str::to_owned),
    }
}

fn life(info: Option<DpuResetInfo>) -> Life {
    let mut life = Life::default();
    life.info = info;
    life
}

fn seen(health: DpuHealth, boot_id: Option<&str>) -> Seen<'_> {
    Seen { health, boot_id, emptied: false, accepted: true }
}

#[test]
fn every_transition_of_a_life() {
    let ready = |boot| Some(info(Some(true), Some(5), boot));
    let not_ready = |boot| Some(info(Some(false), Some(5), boot));
    let lost = Some(Turn::NotReady);
    let same = Some(Turn::Ready { new_life: None });
    let new = |from, cause| Some(Turn::Ready { new_life: Some((from, 100, cause)) });
    let (a, b) = (Some("a"), Some("b"));
    // what STATE_DB says, health, boot id, emptied -> turn, reset_status after, life after, boot id after
    type Case<'a> = (
        &'a str,
        Option<DpuResetInfo>,
        DpuHealth,
        Option<&'a str>,
        bool,
        Option<Turn>,
        bool,
        Option<u64>,
        Option<&'a str>,
    );
    let cases: Vec<Case<'_>> = vec![
        ("unknown at first", None, Unknown, a, false, None, false, None, None),
        ("first life", None, Up, a, false, new(None, Cause::FirstSeen), false, Some(100), a),
        ("first seen down is no reset", None, Down, None, false, lost, false, None, None),
        ("down", ready(a), Down, a, false, lost, true, Some(5), a),
        ("down for long", not_ready(a), Down, a, false, None, false, Some(5), a),
        ("unknown while ready", ready(a), Unknown, b, true, None, false, Some(5), a),
        ("unknown while not ready", not_ready(a), Unknown, b, true, None, false, Some(5), a),
        ("a flap", not_ready(a), Up, a, false, same, false, Some(5), a),
        ("a reboot", not_ready(a), Up, b, false, new(Some(5), Cause::BootId), false, Some(100), b),
        (
            "swss restarted while down",
            not_ready(a),
            Up,
            a,
            true,
            new(Some(5), Cause::Emptied),
            false,
            Some(100),
            a,
        ),
        (
            "back without a boot id",
            not_ready(a),
            Up,
            None,
            false,
            new(Some(5), Cause::CameBack),
            false,
            Some(100),
            a,
        ),
        (
            "back with its first boot id",
            not_ready(None),
            Up,
            b,
            false,
            new(Some(5), Cause::CameBack),
            false,
            Some(100),
            b,
        ),
        (
            "never up before",
            Some(info(Some(false), None, None)),
            Up,
            a,
            false,
            new(None, Cause::FirstSeen),
            false,
            Some(100),
            a,
        ),
        (
            "SONiC's own row",
            Some(info(None, None, None)),
            Up,
            a,
            false,
            new(None, Cause::FirstSeen),
            false,
            Some(100),
            a,
        ),
        ("all well", ready(a), Up, a, false, None, false, Some(5), a),
        ("a missed restart", ready(a), Up, b, false, new(Some(5), Cause::BootId), true, Some(100), b),
        ("boot id published late", ready(None), Up, a, false, None, false, Some(5), a),
        ("boot id vanished", ready(a), Up, None, false, None, false, Some(5), a),
        ("swss restarted", ready(a), Up, a, true, new(Some(5), Cause::Emptied), true, Some(100), a),
    ];
    for (name, before, health, boot_id, emptied, turn, reset, incarnation, boot_id_after) in cases {
        let mut life = life(before);
        let seen = Seen { emptied, ..seen(health, boot_id) };
        assert_eq!(life.advance(seen, WallMs(100)), turn, "{name}");
        assert_eq!(life.advance(Seen { emptied: false, ..seen }, WallMs(200)), None, "{name}: again");
        let after = life.info.unwrap_or_else(|| info(None, None, None));
        let after = (after.reset_status, after.incarnation, after.boot_id.as_deref());
        assert_eq!(after, (reset, incarnation, boot_id_after), "{name}");
    }
}

#[test]
fn a_life_is_greater_than_every_earlier_one_even_if_the_clock_goes_back() {
    let mut life = life(Some(info(Some(true), Some(5_000), Some("a"))));
    life.advance(seen(Up, Some("b")), WallMs(100));
    assert_eq!(life.incarnation(), Some(5_001));
    life.advance(seen(Up, Some("c")), WallMs(-7));
    assert_eq!(life.incarnation(), Some(5_002));
}

#[test]
fn a_boot_that_is_noticed_in_two_steps_is_one_restart() {
    let mut life = life(Some(info(Some(true), Some(5), Some("a"))));
    life.advance(Seen { emptied: true, ..seen(Up, Some("a")) }, WallMs(100));
    assert_eq!(life.incarnation(), Some(100));
    assert_eq!(life.advance(Seen { accepted: false, ..seen(Up, Some("b")) }, WallMs(200)), None);
    assert_eq!(life.incarnation(), Some(100));
    assert_eq!(life.info.as_ref().unwrap().boot_id.as_deref(), Some("b"));
    life.advance(Seen { accepted: false, ..seen(Up, Some("c")) }, WallMs(300));
    assert_eq!(life.incarnation(), Some(300), "two boots are two restarts, whatever was built on the first");
}

#[test]
fn somebody_elses_clear_is_respected_until_the_next_reset() {
    let mut life = life(Some(info(Some(true), Some(5), Some("a"))));
    life.advance(seen(Down, None), WallMs(100));
    let old = info(Some(true), Some(5), Some("a"));
    assert!(!life.respect_clear(&old), "a row from before the reset clears nothing");
    let mut cleared = life.info.clone().unwrap();
    cleared.reset_status = false;
    assert!(life.respect_clear(&cleared));
    assert!(!life.info.as_ref().unwrap().reset_status);
    life.advance(seen(Up, Some("a")), WallMs(200));
    assert!(!life.info.as_ref().unwrap().reset_status);
    life.advance(seen(Down, Some("a")), WallMs(300));
    assert!(life.info.as_ref().unwrap().reset_status);
}

/// Found by simulation: a scope was applied and withdrawn between the clean-up and the next boot.
#[test]
fn a_boot_after_a_scope_was_accepted_is_another_restart_even_if_it_is_withdrawn_by_then() {
    let mut life = life(Some(info(Some(true), Some(5), Some("a"))));
    life.advance(Seen { emptied: true, ..seen(Up, Some("a")) }, WallMs(100));
    life.advance(seen(Up, Some("a")), WallMs(150));
    assert_eq!(life.incarnation(), Some(100));
    life.advance(Seen { accepted: false, ..seen(Up, Some("b")) }, WallMs(200));
    assert_eq!(life.incarnation(), Some(200));
}
