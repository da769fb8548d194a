//! As many sessions as a DPU of the design has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bfd::{Hops, Role};
use bfd_net::testing::{Bfdd, Capture};

use crate::ours::{Ours, Pair, add, on_net, spec, wait_up};

#[test]
fn sixty_four_sessions_at_once_of_both_families() {
    const OF_EACH: u8 = 32;
    on_net("64 sessions at once", OF_EACH, |net| {
        let pairs: Vec<Pair> = (1..=OF_EACH)
            .flat_map(|n| {
                let v4 = |host| IpAddr::V4(Ipv4Addr::new(10, 9, host, n));
                // As `ip` reads the decimal digits of n.
                let digits = u16::from_str_radix(&n.to_string(), 16).unwrap();
                let v6 = |host| IpAddr::V6(Ipv6Addr::new(0xfd09, host, 0, 0, 0, 0, 0, digits));
                [
                    Pair { ours: v4(0), frrs: v4(1), hops: Hops::Multi },
                    Pair { ours: v6(0), frrs: v6(1), hops: Hops::Multi },
                ]
            })
            .collect();
        let capture = Capture::start(&net.here, &["routed"]).unwrap();
        let bfdd = Bfdd::start(&net.there).unwrap();
        let ours = Ours::start(64);
        ours.want(&pairs, spec(Role::Passive));
        add(&bfdd, &pairs, Role::Active);
        wait_up(&ours, &bfdd, &pairs);
        assert_eq!(ours.snapshot().sessions.len(), 64);
        assert!(pairs.iter().all(|pair| ours.view(pair).counters.ups == 1));
        assert_eq!(ours.close(), 0);
        let (packets, complaints) = capture.judge().unwrap();
        assert!(packets >= 64 * 4, "only {packets} packets were captured");
        assert_eq!(complaints, Vec::<String>::new(), "of {packets} packets");
    });
}
