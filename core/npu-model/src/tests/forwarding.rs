//! Prefixes, tunnels and what comes out of them.

use schema::BfdState::Up;
use schema::appl_db::VnetRouteTunnel;

use super::{Npu, VIP, ip, row};
use crate::{NextHop, NextHopRule, Prefix, Reach};

const LOCAL: &str = "18.0.202.1";
const REMOTE_NPU: &str = "10.1.1.32";
const REMOTE_DPU: &str = "18.1.202.1";

/// As hamgrd writes it: a DPU of this chassis, and one behind another NPU.
fn npu() -> Npu {
    let mut npu = Npu::new(NextHopRule::Design);
    npu.neighbour(LOCAL);
    let mut route = row(&[LOCAL, REMOTE_NPU], &[LOCAL]);
    route.endpoint_monitor = super::ips(&[LOCAL, REMOTE_DPU]);
    npu.route(VIP, VnetRouteTunnel { check_directly_connected: true, ..route });
    npu.wait_for_sessions();
    npu
}

#[test]
fn a_dpu_of_this_chassis_is_reached_directly_and_another_through_its_npu() {
    let mut npu = npu();
    let hop = |npu: &Npu| npu.forwarding.next_hop(ip(VIP), 0);
    assert_eq!(hop(&npu), Some(NextHop { endpoint: ip(LOCAL), reach: Reach::Direct }));
    npu.bfd(REMOTE_DPU, Up);
    assert_eq!(hop(&npu), Some(NextHop { endpoint: ip(REMOTE_NPU), reach: Reach::Tunnel }));
}

#[test]
fn what_comes_out_of_a_tunnel_goes_to_the_dpu_of_this_chassis_whatever_bfd_says() {
    let mut npu = npu();
    npu.bfd(REMOTE_DPU, Up);
    assert_eq!(npu.forwarding.terminates_at(ip(VIP)), Some(ip(LOCAL)));
    assert_eq!(npu.forwarding.terminates_at(ip("10.3.0.2")), None);
}

#[test]
fn the_longest_prefix_counts_and_flows_spread_over_next_hops() {
    let mut npu = Npu::new(NextHopRule::Design);
    npu.route("10.3.0.0/24", row(&["9.1.0.1"], &[]));
    npu.route(VIP, row(&["9.1.0.2", "9.1.0.3"], &[]));
    npu.wait_for_sessions();
    let to = |vip: &str, flow| npu.forwarding.next_hop(ip(vip), flow).map(|hop| hop.endpoint);
    assert_eq!(to("10.3.0.9", 0), Some(ip("9.1.0.1")));
    assert_eq!(
        [to(VIP, 0), to(VIP, 1), to(VIP, 2)],
        [Some(ip("9.1.0.2")), Some(ip("9.1.0.3")), Some(ip("9.1.0.2"))]
    );
    assert_eq!(to("10.4.0.1", 0), None);
}

#[test]
fn prefixes_are_read_as_orchagent_reads_them() {
    for (text, shown) in [
        ("10.3.0.1", Some("10.3.0.1/32")),
        ("10.3.0.0/24", Some("10.3.0.0/24")),
        ("0.0.0.0/0", Some("0.0.0.0/0")),
        ("fd00:3::1", Some("fd00:3::1/128")),
        ("::/0", Some("::/0")),
        ("10.3.0.1/33", None),
        ("fd00::/129", None),
        ("10.3.0", None),
        ("10.3.0.1/", None),
        ("", None),
    ] {
        assert_eq!(Prefix::parse(text).map(|prefix| prefix.to_string()).as_deref(), shown, "{text}");
    }
    let all = Prefix::parse("0.0.0.0/0").unwrap();
    assert!(all.contains(ip(VIP)) && !all.contains(ip("fd00::1")));
}
