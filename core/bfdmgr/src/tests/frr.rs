//! What is said to `bfdd`: the commands of BfdMgr, word for word, and a modelled `bfdd` that obeys them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::frr::{Command, FrrPeer, Status, commands, parse};

use super::*;

fn words(command: &Command) -> Vec<&str> {
    command.0.iter().map(String::as_str).filter(|word| *word != "-c").collect()
}

fn one(sessions: &[(&BfdKey, &BfdSoftwareSession)]) -> Sessions {
    sessions.iter().map(|(key, row)| ((*key).clone(), session(key, row))).collect()
}

#[test]
fn a_session_of_hamgrd_is_added_in_bfdmgrs_words() {
    let key = key("10.1.0.32");
    let calls = commands(&one(&[(&key, &row())]), &[], &BTreeSet::new());
    assert_eq!(calls.len(), 1);
    assert_eq!(
        words(&calls[0]),
        [
            "conf t",
            "bfd",
            "peer 10.1.0.32 multihop local-address 20.0.200.1 vrf default",
            "detect-multiplier 3",
            "receive-interval 100",
            "transmit-interval 100",
            "minimum-ttl 1",
            "passive-mode",
        ]
    );
    assert_eq!(calls[0].0.iter().filter(|word| *word == "-c").count(), 8);
}

#[test]
fn an_active_session_on_an_interface_is_added_in_bfdmgrs_words() {
    let key = BfdKey { vrf: "Vrf1".to_owned(), interface: "Ethernet0".to_owned(), peer: ip("fe80::1") };
    let row = BfdSoftwareSession { local_addr: None, kind: Some("async_active".to_owned()), ..row() };
    let calls = commands(&one(&[(&key, &row)]), &[], &BTreeSet::new());
    let said = words(&calls[0]);
    assert_eq!(said[2], "peer fe80::1 interface Ethernet0 vrf Vrf1");
    assert_eq!(said.last(), Some(&"no passive-mode"));
    assert!(!said.contains(&"minimum-ttl 1"), "one hop");
}

#[test]
fn what_bfdd_shows_is_understood() {
    let shown = parse(include_str!("show_bfd_peers.json")).unwrap();
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[0].key, key("10.99.0.2"));
    assert_eq!((shown[0].multihop, shown[0].passive, shown[0].minimum_ttl), (true, true, Some(1)));
    assert_eq!((shown[0].transmit_ms, shown[0].receive_ms, shown[0].detect_multiplier), (100, 100, 3));
    assert_eq!((shown[0].status, shown[1].status), (Status::Down, Status::Up));
    assert_eq!((shown[1].key.interface.as_str(), shown[1].local), ("eth0", None));
    assert!(parse("").is_err() && parse("{}").is_err());
    assert_eq!(parse("[\n]\n").unwrap(), []);
}

#[test]
fn a_session_that_goes_is_shut_down_before_it_is_removed_all_of_them_in_one_call() {
    let shown = |status| -> Vec<FrrPeer> {
        ["10.1.0.32", "10.1.0.33"].map(|peer| FrrPeer { key: key(peer), status, ..as_shown() }).to_vec()
    };
    let calls = commands(&Sessions::new(), &shown(Status::Up), &BTreeSet::new());
    assert_eq!(calls.len(), 1);
    assert_eq!(
        words(&calls[0]),
        [
            "conf t",
            "bfd",
            "peer 10.1.0.32 multihop local-address 20.0.200.1 vrf default",
            "shutdown",
            "exit",
            "peer 10.1.0.33 multihop local-address 20.0.200.1 vrf default",
            "shutdown",
            "exit",
        ]
    );
    let calls = commands(&Sessions::new(), &shown(Status::Shutdown), &BTreeSet::new());
    let said: Vec<_> = calls.iter().map(|call| words(call)[2]).collect();
    assert_eq!(
        said,
        [
            "no peer 10.1.0.32 multihop local-address 20.0.200.1 vrf default",
            "no peer 10.1.0.33 multihop local-address 20.0.200.1 vrf default",
        ]
    );
}

#[test]
fn sessions_of_others_stay() {
    let bgp = FrrPeer { passive: false, status: Status::Up, ..as_shown() };
    assert_eq!(commands(&Sessions::new(), std::slice::from_ref(&bgp), &BTreeSet::new()), []);
    let ours = BTreeSet::from([bgp.key.clone()]);
    assert!(
        bgp.report(&BTreeSet::new()).is_up && !bgp.report(&BTreeSet::new()).is_open,
        "nor are they waited for"
    );
    assert!(bgp.report(&ours).is_open);
    assert_eq!(commands(&Sessions::new(), &[bgp], &ours).len(), 1, "but one that we added goes");
}

/// The row of hamgrd as `bfdd` shows it.
fn as_shown() -> FrrPeer {
    FrrPeer {
        key: key("10.1.0.32"),
        multihop: true,
        local: Some(ip("20.0.200.1")),
        passive: true,
        minimum_ttl: Some(1),
        transmit_ms: 100,
        receive_ms: 100,
        detect_multiplier: 3,
        status: Status::Down,
    }
}

/// A `bfdd` that understands what BfdMgr says, and nothing else.
#[derive(Debug, Default)]
struct Bfdd {
    peers: Vec<FrrPeer>,
}

impl Bfdd {
    fn obey(&mut self, command: &Command) {
        let said = words(command);
        assert_eq!(said[..2], ["conf t", "bfd"]);
        let mut at = None;
        for words in &said[2..] {
            let (no, rest) = words.strip_prefix("no ").map_or((false, *words), |rest| (true, rest));
            let mut rest = rest.split(' ');
            let number = |rest: &mut std::str::Split<'_, char>| rest.next().unwrap().parse::<u32>().unwrap();
            match rest.next().unwrap() {
                "peer" => at = self.peer(no, rest),
                "exit" => at = None,
                word => {
                    let peer = &mut self.peers[at.expect("inside of a peer")];
                    match word {
                        "detect-multiplier" => peer.detect_multiplier = number(&mut rest),
                        "receive-interval" => peer.receive_ms = number(&mut rest),
                        "transmit-interval" => peer.transmit_ms = number(&mut rest),
                        "minimum-ttl" => peer.minimum_ttl = Some(number(&mut rest)),
                        "passive-mode" => peer.passive = !no,
                        "shutdown" => peer.status = if no { Status::Down } else { Status::Shutdown },
                        other => panic!("bfdd does not know {other}"),
                    }
                }
            }
        }
    }

    fn peer<'a>(&mut self, no: bool, mut words: impl Iterator<Item = &'a str>) -> Option<usize> {
        let mut peer = FrrPeer {
            key: key(words.next().unwrap()),
            multihop: false,
            local: None,
            passive: false,
            minimum_ttl: None,
            transmit_ms: 300,
            receive_ms: 300,
            detect_multiplier: 3,
            status: Status::Down,
        };
        while let Some(word) = words.next() {
            match word {
                "multihop" => (peer.multihop, peer.minimum_ttl) = (true, Some(254)),
                "local-address" => peer.local = Some(ip(words.next().unwrap())),
                "interface" => peer.key.interface = words.next().unwrap().to_owned(),
                "vrf" => peer.key.vrf = words.next().unwrap().to_owned(),
                other => panic!("bfdd does not know {other}"),
            }
        }
        let is_it = |other: &FrrPeer| {
            (&other.key, other.multihop, other.local) == (&peer.key, peer.multihop, peer.local)
        };
        let found = self.peers.iter().position(is_it);
        if no {
            let gone = self.peers.remove(found.expect("only what is there is removed"));
            assert_eq!(gone.status, Status::Shutdown, "its peer was told first");
            return None;
        }
        Some(found.unwrap_or_else(|| {
            self.peers.push(peer);
            self.peers.len() - 1
        }))
    }
}

fn rows() -> impl Strategy<Value = (BfdKey, BfdSoftwareSession)> {
    let peers = prop_oneof![Just("10.1.0.32"), Just("10.1.0.33"), Just("fd00::32")];
    let kinds = prop_oneof![Just("passive"), Just("async_active")];
    (peers, any::<bool>(), 1u32..4, any::<bool>(), any::<bool>(), kinds).prop_map(
        |(peer, on_port, tens, multihop, shutdown, kind)| {
            let interface = if on_port { "Ethernet0" } else { "default" }.to_owned();
            let local = if peer.contains(':') { "fd00::1" } else { "20.0.200.1" };
            let row = BfdSoftwareSession {
                tx_interval_ms: Some(tens * 10),
                multihop,
                shutdown,
                local_addr: (tens > 1).then(|| ip(local)),
                kind: Some(kind.to_owned()),
                ..row()
            };
            (BfdKey { interface, ..key(peer) }, row)
        },
    )
}

proptest! {
    #[test]
    fn bfdd_ends_with_what_was_wanted_last_whatever_it_had_and_even_if_it_restarts(
        history in proptest::collection::vec((proptest::collection::btree_map(0u8..4, rows(), 0..4), any::<bool>()), 1..6),
    ) {
        let mut bfdd = Bfdd::default();
        let mut ours = BTreeSet::new();
        for (rows, restarts) in history {
            if restarts {
                bfdd.peers.clear();
            }
            let rows: Vec<_> = rows.into_values().collect();
            let wanted = one(&rows.iter().map(|(key, row)| (key, row)).collect::<Vec<_>>());
            let mut rounds = 0;
            loop {
                let calls = commands(&wanted, &bfdd.peers, &ours);
                if calls.is_empty() {
                    break;
                }
                ours.extend(wanted.keys().cloned());
                calls.iter().for_each(|call| bfdd.obey(call));
                rounds += 1;
                prop_assert!(rounds <= 4, "{calls:?}");
            }
            prop_assert_eq!(bfdd.peers.len(), wanted.len(), "{:?}", bfdd.peers);
            for (key, session) in &wanted {
                let peer = bfdd.peers.iter().find(|peer| peer.key == *key).unwrap();
                prop_assert_eq!((peer.multihop, peer.local), (session.multihop, session.local));
                prop_assert_eq!(peer.transmit_ms, session.transmit.ms());
                prop_assert_eq!(peer.passive, session.role == bfd::Role::Passive);
                prop_assert_eq!(peer.status == Status::Shutdown, session.shutdown);
            }
        }
    }
}
