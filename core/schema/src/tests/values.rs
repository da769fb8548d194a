//! Scalars, lists, times and raw values.

use super::golden::{scope, v4};
use crate::chassis_state_db::{DpuHealth, DpuState};
use crate::config_db::Vdpu;
use crate::dpu_appl_db::{BfdSession, HaScope};
use crate::dpu_state_db::{BfdProbeState, HaScopeState};
use crate::state_db::{self, PythonBool, SystemReady};
use crate::{
    AsicHaRole, AsicHaState, Fields, LinkState, PmonTime, RecoveryStatus, Row, Scalar, Value, WallMs,
};

const JUNE_4: &str = "Tue Jun 04 09:00:00 PM UTC 2024";
const JUNE_4_MS: i64 = 1_717_534_800_000;

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().copied().collect()
}

fn health(pairs: &[(&str, &str)]) -> DpuState {
    DpuState::from_fields("DPU0", &fields(pairs)).unwrap()
}

#[test]
fn words_are_read_in_any_case_and_only_whole() {
    for word in ["up", "UP", "Up"] {
        assert_eq!(LinkState::from_text(word), Some(LinkState::Up));
        assert_eq!(health(&[("dpu_midplane_link_state", word)]).midplane_link_state, Some(LinkState::Up));
        assert_eq!(
            SystemReady::from_fields("SYSTEM_STATE", &fields(&[("Status", word)])).unwrap().status,
            Some(LinkState::Up)
        );
    }
    // swss-common compares only as many letters as the shorter word has; an empty state reads as `up`.
    for word in ["", "u", "upp", "up ", "u p", "dow", "üp"] {
        assert_eq!(LinkState::from_text(word), None, "{word:?}");
    }
    assert_eq!(AsicHaRole::from_text("stand"), None);
    assert_eq!(health(&[("dpu_midplane_link_state", "")]).midplane_link_state, None);
}

#[test]
fn every_word_reads_back() {
    fn all<T: Scalar + PartialEq + Copy + std::fmt::Debug>(values: &[T]) {
        for value in values {
            assert_eq!(T::from_text(&value.to_text()), Some(*value));
            assert_eq!(T::from_text(&value.to_text().to_ascii_uppercase()), Some(*value));
        }
    }
    all(LinkState::ALL);
    all(AsicHaRole::ALL);
    all(AsicHaState::ALL);
    all(RecoveryStatus::ALL);
    all(crate::HaOwner::ALL);
    all(crate::HaScopeKind::ALL);
    all(crate::DesiredHaState::ALL);
    all(crate::OperationType::ALL);
    all(crate::PinnedState::ALL);
}

/// `reference/dpu-side.md` 5.2, in the order of the SAI numbers.
#[test]
fn the_states_of_the_asic_serve_and_decide_as_the_design_says() {
    let expected = [
        ("dead", false, false),
        ("connecting", false, false),
        ("connected", false, false),
        ("initializing_to_active", false, false),
        ("initializing_to_standby", false, false),
        ("pending_standalone_activation", false, false),
        ("pending_active_activation", false, false),
        ("pending_standby_activation", false, false),
        ("standalone", true, true),
        ("active", true, true),
        ("standby", true, false),
        ("destroying", false, false),
        ("switching_to_standalone", true, true),
    ];
    let is: Vec<_> =
        AsicHaState::ALL.iter().map(|state| (state.as_str(), state.serves(), state.decides())).collect();
    assert_eq!(is, expected);
}

#[test]
fn booleans_are_those_of_sonic_and_of_python() {
    for (text, value) in [("true", true), ("1", true), ("True", true), ("false", false), ("0", false)] {
        assert_eq!(bool::from_text(text), Some(value));
        assert_eq!(PythonBool::from_text(text), Some(PythonBool(value)));
    }
    for text in ["", "yes", "2", "tru", "true "] {
        assert_eq!(bool::from_text(text), None, "{text:?}");
    }
    assert_eq!((true.to_text(), false.to_text()), ("true".to_owned(), "false".to_owned()));
    assert_eq!(PythonBool(false).to_text(), "False");
}

#[test]
fn an_absent_flag_is_down() {
    let session = BfdSession::from_fields("default:default:10.0.0.1", &Fields::placeholder()).unwrap();
    assert!(!session.multihop && !session.shutdown);
    let scope_row =
        HaScope::from_fields("h0", &fields(&[("ha_role", "standby"), ("activate_role_requested", "none")]));
    assert_eq!(scope_row.unwrap().activate_role_requested, None);
    let state = HaScopeState::from_fields(scope("h0").as_str(), &Fields::new()).unwrap();
    assert_eq!((state.ha_state, state.activate_role_pending), (None, false), "a row before any state change");
}

#[test]
fn lists_tolerate_quotes_blanks_and_empty_items() {
    let cases = [
        ("", vec![]),
        (" ", vec![]),
        (",", vec![]),
        (r#""""#, vec![]),
        ("10.0.0.1", vec!["10.0.0.1"]),
        ("10.0.0.1,10.0.0.2", vec!["10.0.0.1", "10.0.0.2"]),
        (r#""10.0.0.1", "10.0.0.2""#, vec!["10.0.0.1", "10.0.0.2"]),
        (" '10.0.0.1' ,,  10.0.0.2 ,", vec!["10.0.0.1", "10.0.0.2"]),
    ];
    for (text, expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(v4).collect();
        let probe = BfdProbeState::from_fields("dash_ha", &fields(&[("v4_bfd_up_sessions", text)])).unwrap();
        assert_eq!(probe.v4_bfd_up_sessions, expected, "{text:?}");
        let state =
            state_db::HaScopeState::from_fields("v|h", &fields(&[("local_vdpu_up_bfd_sessions_v4", text)]));
        assert_eq!(state.unwrap().local_vdpu_up_bfd_sessions_v4, expected, "{text:?}");
    }
    for bad in ["10.0.0.1 10.0.0.2", r#"""10.0.0.1"""#, r#"""#, "10.0.0.1,x", "fd00::1", "none"] {
        let error =
            BfdProbeState::from_fields("dash_ha", &fields(&[("v4_bfd_up_sessions", bad)])).unwrap_err();
        assert_eq!(error.field, "v4_bfd_up_sessions", "{bad:?}");
    }
}

#[test]
fn a_list_holds_no_more_than_its_limit() {
    let list = |items: usize| fields(&[("main_dpu_ids", &vec!["d"; items].join(","))]);
    assert_eq!(Vdpu::from_fields("v", &list(1024)).unwrap().main_dpu_ids.len(), 1024);
    let error = Vdpu::from_fields("v", &list(1025)).unwrap_err();
    assert!(error.expected.contains("at most 1024 items"), "{error}");
}

#[test]
fn a_value_may_be_64_kib_long_and_no_longer() {
    let reason = |bytes: usize| fields(&[("dpu_control_plane_reason", &"x".repeat(bytes))]);
    assert!(DpuState::from_fields("DPU0", &reason(64 * 1024)).is_ok());
    let error = DpuState::from_fields("DPU0", &reason(64 * 1024 + 1)).unwrap_err();
    assert_eq!(error.expected, "text of at most 65536 bytes");
    assert!(error.value.ends_with("… (65537 bytes)"), "{error}");
}

#[test]
fn a_bad_value_is_shown_shortened_and_in_hex_where_it_is_no_text() {
    let shown = |value: Vec<u8>| {
        let row: Fields = [("Status", value)].into_iter().collect();
        SystemReady::from_fields("SYSTEM_STATE", &row).unwrap_err().value
    };
    assert_eq!(shown(b"so so".to_vec()), r#""so so""#);
    assert_eq!(shown(vec![0xff, 0x00]), "0xff00");
    assert_eq!(shown(vec![b'x'; 100]), format!("\"{}… (100 bytes)", "x".repeat(63)));
    assert_eq!(shown(vec![0xff; 100]), format!("0x{}… (100 bytes)", "ff".repeat(31)));
}

#[test]
fn pmon_times_are_read_with_and_without_quotes() {
    let expected = PmonTime::from(WallMs(JUNE_4_MS));
    assert_eq!(expected.to_text(), JUNE_4);
    assert_eq!(expected.wall(), WallMs(JUNE_4_MS));
    for text in [JUNE_4.to_owned(), format!("\"{JUNE_4}\""), format!("'{JUNE_4}'"), format!(" {JUNE_4} ")] {
        assert_eq!(PmonTime::from_text(&text), Some(expected), "{text}");
    }
    for (text, ms) in [
        ("Sat Jan 01 12:00:00 AM UTC 2000", 946_684_800_000),
        ("Sat Jan 01 12:00:00 PM UTC 2000", 946_728_000_000),
        ("Thu Feb 29 11:59:59 PM UTC 2024", 1_709_251_199_000),
        ("Thu Jan 01 12:00:00 AM UTC 1970", 0),
    ] {
        assert_eq!(PmonTime::from_text(text), Some(PmonTime::from(WallMs(ms))), "{text}");
        assert_eq!(PmonTime::from(WallMs(ms)).to_text(), text);
    }
}

#[test]
fn other_times_are_no_pmon_times() {
    for text in [
        "",
        "unknown",
        "1717534800",
        "2024-06-04T21:00:00Z",
        "Tue Jun 04 09:00:00 PM PST 2024",
        "Tue Jun 04 09:00:00 PM 2024",
        "Tue Jun 04 21:00:00 UTC 2024",
        "Mon Jun 04 09:00:00 PM UTC 2024",
        "Tue Jun 31 09:00:00 PM UTC 2024",
        "Tue Jun 04 13:00:00 PM UTC 2024",
        "Tue Jun 04 09:00:00 PM UTC 2024 and more",
    ] {
        assert_eq!(PmonTime::from_text(text), None, "{text:?}");
    }
}

#[test]
fn a_time_is_cut_to_the_second_also_before_1970() {
    assert_eq!(PmonTime::from(WallMs(1999)).wall(), WallMs(1000));
    assert_eq!(PmonTime::from(WallMs(-1)).wall(), WallMs(-1000));
    assert_eq!(WallMs(-1).seconds(), -1);
}

#[test]
fn a_time_that_no_calendar_holds_does_no_harm() {
    for ms in [i64::MIN, i64::MAX] {
        let time = PmonTime::from(WallMs(ms));
        assert!(PmonTime::from_text(&time.to_text()).is_some());
        assert!(time.wall().0.abs_diff(ms) < 1000);
    }
}

#[test]
fn seconds_and_milliseconds_are_told_apart() {
    for (number, ms) in [
        (0, 0),
        (1_717_534_800, 1_717_534_800_000),
        (1_717_534_800_000, 1_717_534_800_000),
        (99_999_999_999, 99_999_999_999_000),
        (100_000_000_000, 100_000_000_000),
        (-5, -5000),
        (i64::MAX, i64::MAX),
        (i64::MIN, i64::MIN),
    ] {
        assert_eq!(WallMs::from_seconds_or_ms(number), WallMs(ms), "{number}");
    }
}

#[test]
fn midplane_and_control_plane_make_the_health() {
    use DpuHealth::{Down, Unknown, Up};
    let cases = [
        ("up", "up", Up),
        ("UP", "Up", Up),
        ("up", "down", Down),
        ("down", "up", Down),
        ("down", "unknown", Down),
        ("unknown", "down", Down),
        ("up", "unknown", Unknown),
        ("UNKNOWN", "up", Unknown),
        ("", "up", Unknown),
        ("unknown", "", Unknown),
    ];
    for (midplane, control, expected) in cases {
        for data in ["up", "down", "unknown", ""] {
            let row = health(&[
                ("dpu_midplane_link_state", midplane),
                ("dpu_control_plane_state", control),
                ("dpu_data_plane_state", data),
            ]);
            assert_eq!(row.health(), expected, "midplane {midplane:?}, control plane {control:?}");
        }
    }
    assert_eq!(health(&[("dpu_control_plane_state", "down")]).health(), Down);
    assert_eq!(health(&[]).health(), Unknown);
}

#[test]
fn a_bad_time_is_reported_and_the_health_is_known() {
    let row = fields(&[
        ("dpu_midplane_link_state", "up"),
        ("dpu_midplane_link_time", "Tue Jun 04 09:00:00 PM PST 2024"),
        ("dpu_control_plane_state", "up"),
        ("dpu_control_plane_time", JUNE_4),
        ("dpu_data_plane_state", "degraded"),
    ]);
    let (read, errors) = DpuState::parse_reporting("DPU0", &row);
    let (_, state) = read.unwrap();
    assert_eq!((state.health(), state.midplane_link_time), (DpuHealth::Up, None));
    assert_eq!(state.control_plane_time, Some(PmonTime::from(WallMs(JUNE_4_MS))));
    let named: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(named, ["dpu_midplane_link_time", "dpu_data_plane_state"]);
}

#[test]
fn a_bad_plane_spoils_the_health_and_so_the_row() {
    let row = fields(&[("dpu_midplane_link_state", "maybe"), ("dpu_midplane_link_time", "soon")]);
    let (read, errors) = DpuState::parse_reporting("DPU0", &row);
    assert_eq!((read, errors.len()), (None, 1));
    assert_eq!(errors[0].field, "dpu_midplane_link_state");
    let (read, errors) = DpuState::parse_reporting("DPUx", &row);
    assert_eq!((read, errors[0].field.as_str()), (None, "(key)"));
}

row! {
    /// A row that forgives, by mistake, what it requires.
    Contradiction = Dpu, key crate::DpuName, forgives &["dpu_id"];
    /// Required.
    dpu_id: crate::Slot = required "dpu_id";
}

#[test]
fn a_missing_field_cannot_be_forgiven() {
    for row in [Fields::new(), fields(&[("dpu_id", "x")])] {
        let (read, errors) = Contradiction::parse_reporting("d", &row);
        assert_eq!(read, None);
        assert_eq!(errors.last().map(|error| error.value.as_str()), Some("nothing"));
    }
}

#[test]
fn raw_values_keep_their_bytes_in_json() {
    for (bytes, json) in [
        (&b"up"[..], r#""up""#),
        (b"", r#""""#),
        ("ä\"\n".as_bytes(), r#""ä\"\n""#),
        (b"\xff\x00\x7f", r#"{"hex":"ff007f"}"#),
    ] {
        let value = Value::from(bytes.to_vec());
        assert_eq!(serde_json::to_string(&value).unwrap(), json);
        assert_eq!(serde_json::from_str::<Value>(json).unwrap(), value);
        assert_eq!(value.into_bytes(), bytes);
    }
    for bad in [r#"{"hex":"f"}"#, r#"{"hex":"+f"}"#, r#"{"hex":"fg"}"#, r#"{"hex":"ää"}"#, "1", "null", "{}"]
    {
        assert!(serde_json::from_str::<Value>(bad).is_err(), "{bad}");
    }
}

#[test]
fn fields_are_ordered_and_merge_like_hset() {
    let mut row = fields(&[("b", "1"), ("a", "2"), ("b", "3")]);
    assert_eq!(format!("{row:?}"), r#"{"a": "2", "b": "3"}"#);
    row.merge(&fields(&[("b", "4"), ("c", "5")]));
    assert_eq!(row, fields(&[("a", "2"), ("b", "4"), ("c", "5")]));
    row.remove("a");
    row.remove("absent");
    assert_eq!((row.len(), row.text("b"), row.get("a")), (2, Some("4"), None));
    row.set("pb", vec![0xff]);
    assert_eq!(row.text("pb"), None, "not UTF-8");
    assert_eq!(serde_json::to_string(&row).unwrap(), r#"{"b":"4","c":"5","pb":{"hex":"ff"}}"#);
    assert!(Fields::new().is_empty() && !Fields::placeholder().is_empty());
}

#[test]
fn a_clone_of_fields_is_changed_alone() {
    let before: Fields = [("a", "1"), ("b", "2")].into_iter().collect();
    let mut after = before.clone();
    after.set("a", "3");
    after.remove("b");
    after.remove("not there");
    assert_eq!(before, [("a", "1"), ("b", "2")].into_iter().collect());
    assert_eq!(after, [("a", "3")].into_iter().collect());
    let mut merged = Fields::new();
    merged.merge(&before);
    merged.set("c", "4");
    assert_eq!((before.len(), merged.len()), (2, 3));
}
