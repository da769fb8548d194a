//! SONiC's own acceptance cases (`reference/dpu-side.md` 3.7: `tests/test_vnet.py`), under orchagent's rule, and what the
//! design's does at the same moments.

use schema::BfdState::{Down, Up};
use schema::PinnedState;
use schema::appl_db::VnetRouteTunnel;

use super::{Npu, VIP, ip, ips, key, pinned, row};
use crate::NextHopRule::{Design, Orchagent};
use crate::{Input, NextHopRule};

const PREFIX: &str = "10.3.0.1/32";

/// The next hops that orchagent shows, or none.
fn check(npu: &Npu, expected: &[&str], when: &str) {
    assert_eq!(npu.next_hops(PREFIX), expected, "{when}");
}

#[test]
fn vnet_orch_32_two_primaries_two_secondaries() {
    let (p1, p2, s1, s2) = ("9.1.0.1", "9.1.0.2", "9.1.0.3", "9.1.0.4");
    let all_down_goes_to = |rule: NextHopRule| -> &[&str] {
        match rule {
            Design => &["9.1.0.1", "9.1.0.2"],
            Orchagent => &[],
        }
    };
    for rule in NextHopRule::ALL {
        let mut npu = Npu::new(rule);
        npu.neighbour(s1);
        npu.neighbour(s2);
        let all = [p1, p2, s1, s2];
        npu.route(VIP, VnetRouteTunnel { check_directly_connected: true, ..row(&all, &[p1, p2]) });
        assert_eq!(npu.sessions.len(), 4);
        check(&npu, &[], "nobody was heard yet");
        npu.wait_for_sessions();
        check(&npu, all_down_goes_to(rule), "all down");
        for peer in all {
            npu.bfd(peer, Up);
        }
        check(&npu, &[p1, p2], "all up");
        npu.bfd(p1, Down);
        check(&npu, &[p2], "one primary down");
        npu.bfd(p2, Down);
        check(&npu, &[s1, s2], "both primaries down");
        npu.bfd(s1, Down);
        check(&npu, &[s2], "one secondary down");
        npu.bfd(s2, Down);
        check(&npu, all_down_goes_to(rule), "all down again");
        assert_eq!(npu.route_state(PREFIX).is_none(), rule == Orchagent, "the row goes with the route");
        npu.bfd(s1, Up);
        npu.bfd(s2, Up);
        check(&npu, &[s1, s2], "secondaries up");
        npu.bfd(p1, Up);
        check(&npu, &[p1], "primary 1 up");
        npu.bfd(p2, Up);
        check(&npu, &[p1, p2], "both primaries up");
        npu.bfd(s1, Down);
        check(&npu, &[p1, p2], "a secondary's flap does not matter");
        npu.give([Input::Route(key(VIP), None)]);
        assert!(npu.sessions.is_empty(), "DEL removes the sessions");
        assert!(npu.state_db.is_empty(), "and all state rows: {:?}", npu.state_db);
    }
}

#[test]
fn vnet_orch_34_a_new_remote_becomes_primary() {
    let (old_local, old_remote, new_remote) = ("9.1.0.1", "9.1.0.2", "9.1.0.3");
    for rule in NextHopRule::ALL {
        let mut npu = Npu::new(rule);
        npu.neighbour(old_local);
        let local = |row| VnetRouteTunnel { check_directly_connected: true, ..row };
        npu.route(VIP, local(row(&[old_local, old_remote], &[old_local])));
        npu.bfd(old_local, Up);
        npu.bfd(old_remote, Up);
        npu.route(VIP, local(row(&[old_local, new_remote], &[new_remote])));
        assert!(npu.session_row(old_remote).is_none(), "the old remote's session is deleted");
        check(&npu, &[old_local], "until the new primary is heard");
        npu.bfd(new_remote, Up);
        check(&npu, &[new_remote], "then it moves");
    }
}

#[test]
fn vnet_orch_35_the_same_endpoints_are_watched_elsewhere() {
    let (p, s, monitor) = ("9.1.0.1", "9.1.0.2", "9.1.0.9");
    for rule in NextHopRule::ALL {
        let mut npu = Npu::new(rule);
        let first = row(&[p, s], &[p]);
        npu.route(VIP, first.clone());
        npu.bfd(p, Up);
        npu.bfd(s, Up);
        npu.route(VIP, VnetRouteTunnel { endpoint_monitor: ips(&[p, monitor]), ..first.clone() });
        assert!(npu.session_row(s).is_none() && npu.session_row(monitor).is_some());
        check(&npu, &[p], "another monitor of the secondary");
        npu.route(VIP, VnetRouteTunnel { endpoint_monitor: ips(&[monitor, s]), ..first.clone() });
        npu.bfd(s, Up);
        check(&npu, &[s], "the primary is not heard at its new monitor yet");
        npu.bfd(monitor, Up);
        check(&npu, &[p], "another monitor of the primary");
        npu.route(VIP, first);
        npu.bfd(p, Up);
        check(&npu, &[p], "and back");
        assert!(npu.sessions.contains_key(&ip(s)) && !npu.sessions.contains_key(&ip(monitor)));
    }
}

#[test]
fn vnet_orch_36_pins() {
    let (p, s) = ("9.1.0.1", "9.1.0.2");
    use PinnedState as Pin;
    for rule in NextHopRule::ALL {
        let mut npu = Npu::new(rule);
        let pin = |pins| pinned(row(&[p, s], &[p]), pins);
        npu.route(VIP, pin([Pin::None, Pin::None]));
        npu.bfd(p, Up);
        npu.bfd(s, Up);
        check(&npu, &[p], "none, none");
        npu.route(VIP, pin([Pin::Down, Pin::None]));
        check(&npu, &[s], "down, none");
        npu.route(VIP, row(&[p, s], &[p]));
        check(&npu, &[p], "a SET without pins unpins");
        npu.route(VIP, pin([Pin::Up, Pin::None]));
        npu.bfd(p, Down);
        check(&npu, &[p], "up, none, though BFD is down");
    }
}
