//! What a row says, and why one is refused (`reference/dpu-side.md` 3.2, 3.3).

use schema::BfdState::{Down, Up};
use schema::PinnedState;
use schema::appl_db::VnetRouteTunnel;

use super::{Npu, VIP, ip, ips, key, row};
use crate::{Input, NextHopRule, Note, Reach, RouteProblem};

const PREFIX: &str = "10.3.0.1/32";
const P: &str = "18.0.202.1";
const S: &str = "18.1.202.1";

#[test]
fn a_row_that_cannot_be_followed_is_told_once_and_the_last_good_one_stays() {
    use RouteProblem::{
        NoEndpoint, NotAPrefix, NotOneMonitorPerEndpoint, NotOnePinPerMonitor, OtherMonitoring,
        PrimaryWithoutMonitors,
    };
    let good = || row(&[P, S], &[P]);
    let bad: Vec<(&str, VnetRouteTunnel, RouteProblem)> = vec![
        ("10.3.0.300", good(), NotAPrefix),
        ("10.3.0.1/33", good(), NotAPrefix),
        (VIP, row(&[], &[]), NoEndpoint),
        (VIP, VnetRouteTunnel { endpoint_monitor: ips(&[P]), ..good() }, NotOneMonitorPerEndpoint),
        (VIP, VnetRouteTunnel { pinned_state: vec![PinnedState::Up], ..good() }, NotOnePinPerMonitor),
        (VIP, VnetRouteTunnel { endpoint_monitor: Vec::new(), ..good() }, PrimaryWithoutMonitors),
        (VIP, VnetRouteTunnel { monitoring: Some("custom".to_owned()), ..good() }, OtherMonitoring),
        (VIP, VnetRouteTunnel { monitoring: None, ..good() }, OtherMonitoring),
    ];
    for (prefix, bad, problem) in bad {
        let mut npu = Npu::new(NextHopRule::Design);
        npu.route(VIP, good());
        npu.notes.clear();
        npu.route(prefix, bad.clone());
        npu.route(prefix, bad);
        npu.bfd(P, Up);
        let refused = Note::RouteRefused { key: key(prefix), problem };
        assert_eq!(
            npu.notes.iter().filter(|note| **note == refused).count(),
            1,
            "{problem}: {:?}",
            npu.notes
        );
        assert_eq!(npu.next_hops(PREFIX), [P], "{problem}");
        assert_eq!(npu.sessions.len(), 2, "{problem}");
    }
}

#[test]
fn primaries_are_all_neighbours_or_none_is() {
    let mut npu = Npu::new(NextHopRule::Design);
    let both = VnetRouteTunnel { check_directly_connected: true, ..row(&[P, S], &[P, S]) };
    npu.neighbour(P);
    npu.route(VIP, both.clone());
    let problem = RouteProblem::MixedPrimary;
    assert_eq!(npu.notes, [Note::RouteRefused { key: key(VIP), problem }]);
    npu.neighbour(S);
    npu.wait_for_sessions();
    assert_eq!(npu.next_hops(PREFIX), [P, S], "tried again when a neighbour is there");
    npu.route(VIP, VnetRouteTunnel { check_directly_connected: false, ..both });
    assert!(
        npu.forwarding.vips.values().all(|vip| vip.next_hops.iter().all(|hop| hop.reach == Reach::Tunnel))
    );
}

#[test]
fn a_session_per_distinct_monitor_with_the_tables_timers_and_orchagents_multiplier() {
    let mut npu = Npu::new(NextHopRule::Design);
    npu.route(VIP, row(&[P, S], &[P]));
    npu.route("10.3.0.2", row(&[S, P], &[S]));
    let untimed =
        VnetRouteTunnel { rx_monitor_timer_ms: None, tx_monitor_timer_ms: None, ..row(&["fd00:2::1"], &[]) };
    npu.route("fd00:3::1", untimed);
    let peers: Vec<String> = npu.sessions.keys().map(ToString::to_string).collect();
    assert_eq!(peers, [P, S, "fd00:2::1"]);
    let session = npu.sessions[&ip(P)];
    assert_eq!((session.local, session.multiplier), (ip("10.1.0.32"), 10));
    assert_eq!((session.tx_interval_ms, session.rx_interval_ms), (100, 100));
    let session = npu.sessions[&ip("fd00:2::1")];
    assert_eq!((session.local, session.tx_interval_ms), (ip("fd00:1::32"), 1000));

    let shown = npu.session_row(P).unwrap();
    assert_eq!((shown.state, shown.local_discriminator), (Some(Down), None), "it starts down");
    npu.bfd(P, Up);
    let shown = npu.session_row(P).unwrap();
    assert_eq!((shown.state, shown.local_discriminator), (Some(Up), Some(7)));
    assert_eq!(
        (shown.kind.as_deref(), shown.multiplier, shown.multihop),
        (Some("async_active"), Some(10), true)
    );

    npu.give([Input::Route(key(VIP), None)]);
    assert_eq!(npu.session_row(P).unwrap().state, Some(Up), "the other VIP still watches it");
}

#[test]
fn a_peer_of_a_family_without_a_tunnel_source_is_told_and_gets_no_session() {
    let config =
        crate::NpuConfig { tunnel_source_v4: Some("10.1.0.32".parse().unwrap()), ..Default::default() };
    let mut npu = Npu::new(NextHopRule::Design);
    npu.model = crate::NpuModel::new(config);
    npu.give([npu.snapshot(), Input::Synced]);
    npu.route("fd00:3::1", row(&["fd00:2::1"], &["fd00:2::1"]));
    npu.route(VIP, row(&[P], &[P]));
    let told = npu.notes.iter().filter(|note| note.is_warning()).count();
    assert_eq!((npu.sessions.len(), told), (1, 1), "{:?}", npu.notes);
    assert_eq!(npu.next_hops("fd00:3::1/128"), ["fd00:2::1"], "never heard: all down is all up");
}
