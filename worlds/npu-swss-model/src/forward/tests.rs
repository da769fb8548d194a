#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use npu_model::{Prefix, Vip};

use super::*;

const PORT: u16 = 11_370;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn forwarding(hops: &[(&str, Reach)], terminates_at: Option<&str>) -> Forwarding {
    let next_hops = hops.iter().map(|(hop, reach)| NextHop { endpoint: ip(hop), reach: *reach }).collect();
    let vip = Vip { next_hops, terminates_at: terminates_at.map(ip) };
    Forwarding { vips: BTreeMap::from([(Prefix::parse("10.3.0.1").unwrap(), vip)]) }
}

const CLIENT: &str = "9.9.9.9:5000";
const PEER: &str = "127.1.1.32:11370";

fn verdict_of(forwarding: &Forwarding, leg: Leg, client: SocketAddr) -> Verdict {
    let packet = VipPacket { leg, client, ..VipPacket::new(ip("10.3.0.1"), 7) };
    verdict(forwarding, &packet, at(CLIENT), PORT, Some(at(PEER)))
}

#[test]
fn each_leg_goes_where_the_forwarding_says() {
    let local = forwarding(&[("127.1.200.1", Reach::Direct)], Some("127.1.200.1"));
    let remote = forwarding(&[("127.1.1.32", Reach::Tunnel)], None);
    let none = Forwarding::default();
    let send = |to: &str, leg, outcome| Verdict::Send { to: at(to), leg, outcome };
    let (new, known) = (NOBODY, at(CLIENT));
    let cases = [
        (&local, Leg::Client, new, send("127.1.200.1:11370", Leg::Dpu, Outcome::ToDpu)),
        (&local, Leg::Client, known, send("127.1.200.1:11370", Leg::Dpu, Outcome::ToDpu)),
        (&local, Leg::Tunnel, known, send("127.1.200.1:11370", Leg::Dpu, Outcome::OutOfTunnel)),
        (&local, Leg::Answer, known, send(CLIENT, Leg::Answer, Outcome::Answered)),
        (&local, Leg::Dpu, known, Verdict::Drop(Outcome::NotOurs)),
        (&local, Leg::Relay, known, Verdict::Drop(Outcome::NotOurs)),
        (&remote, Leg::Client, new, send("127.1.1.32:11370", Leg::Tunnel, Outcome::IntoTunnel)),
        (&remote, Leg::Tunnel, known, Verdict::Drop(Outcome::NoLocalDpu)),
        // What nobody here announces goes to the network, once.
        (&none, Leg::Client, new, send(PEER, Leg::Client, Outcome::ToNetwork)),
        (&none, Leg::Client, known, Verdict::Drop(Outcome::NoNextHop)),
        (&none, Leg::Tunnel, known, Verdict::Drop(Outcome::NoLocalDpu)),
    ];
    for (forwarding, leg, client, expected) in cases {
        assert_eq!(verdict_of(forwarding, leg, client), expected, "{leg:?} {client}");
    }
}

#[test]
fn a_client_keeps_its_next_hop_and_clients_share_them_all() {
    let two = forwarding(&[("127.1.200.1", Reach::Direct), ("127.1.200.2", Reach::Direct)], None);
    let hop = |client: SocketAddr| {
        let packet = VipPacket::new(ip("10.3.0.1"), 1);
        format!("{:?}", verdict(&two, &packet, client, PORT, None))
    };
    let clients: Vec<SocketAddr> = (1..200).map(|port| SocketAddr::new(ip("9.9.9.9"), port)).collect();
    let hops: std::collections::BTreeSet<String> = clients.iter().map(|client| hop(*client)).collect();
    assert_eq!(hops.len(), 2, "{hops:?}");
    assert!(clients.iter().all(|client| hop(*client) == hop(*client)));
}
