//! What becomes of packets for a VIP.

use proptest::prelude::*;

use AsicHaState::*;

use super::*;
use crate::{Duty, Fate, Leg, VIP_PACKET_BYTES, VipPacket, duty};

const VIP: &str = "10.3.0.1";

fn vip() -> IpAddr {
    VIP.parse().unwrap()
}

/// Who serves a packet that comes in at `side`, following relays.
fn served_by(pair: &Pair, side: usize) -> Option<usize> {
    let fate = |side: usize, was_relayed| match &pair.sides[side].model {
        Some(model) => model.fate(vip(), was_relayed),
        None => Fate::Dropped,
    };
    let by = match fate(side, false) {
        Fate::Relayed { to, .. } => {
            assert_eq!(to, address(1 - side));
            fate(1 - side, true)
        }
        direct => direct,
    };
    match by {
        Fate::Served { by } => (0..2).find(|side| address(*side) == by),
        Fate::Dropped => None,
        Fate::Relayed { .. } => panic!("relayed twice"),
    }
}

#[test]
fn the_duty_of_each_state() {
    for state in AsicHaState::ALL {
        let expected = match state {
            Active | Standalone | SwitchingToStandalone | Destroying => Duty::Serve,
            Standby => Duty::Relay,
            Dead
            | Connecting
            | Connected
            | InitializingToActive
            | InitializingToStandby
            | PendingStandaloneActivation
            | PendingActiveActivation
            | PendingStandbyActivation => Duty::Drop,
        };
        assert_eq!(duty(*state), expected, "{state}");
    }
}

#[test]
fn a_standby_relays_to_its_active_and_a_foreign_vip_is_dropped() {
    let mut pair = Pair::new();
    assert_eq!([served_by(&pair, 0), served_by(&pair, 1)], [None, None]);
    pair.boot(0, AsicHaRole::Active);
    pair.boot(1, AsicHaRole::Standby);
    pair.run_ms(1_000);
    assert_eq!([served_by(&pair, 0), served_by(&pair, 1)], [Some(0), Some(0)]);
    let model = pair.sides[0].model.as_ref().unwrap();
    assert_eq!(model.fate("10.3.0.2".parse().unwrap(), false), Fate::Dropped);
}

#[test]
fn through_a_planned_shutdown_every_packet_to_the_peer_is_served_at_every_moment() {
    for shut_down in [0, 1] {
        let mut pair = Pair::new();
        pair.boot(0, AsicHaRole::Active);
        pair.boot(1, AsicHaRole::Standby);
        pair.run_ms(1_000);
        pair.set(shut_down, HaScopeAttribute::DashHaRole(AsicHaRole::Dead)).unwrap();
        for ms in 0..1_000 {
            assert!(served_by(&pair, 1 - shut_down).is_some(), "after {ms} ms: {:?}", pair.states());
            pair.run_ms(1);
        }
        assert_eq!(pair.states()[shut_down], Dead);
        assert_eq!(served_by(&pair, 1 - shut_down), Some(1 - shut_down));
    }
}

proptest! {
    #[test]
    fn a_packet_comes_back_as_it_was_sent(number in any::<u64>(), leg in 0..5usize, v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>(), port in any::<u16>()) {
        let leg = [Leg::Client, Leg::Tunnel, Leg::Dpu, Leg::Relay, Leg::Answer][leg];
        let (v4, v6) = (IpAddr::from(v4), IpAddr::from(v6).to_canonical());
        let packet = VipPacket {
            leg,
            client: SocketAddr::new(v4, port),
            npu: SocketAddr::new(v6, port.wrapping_add(1)),
            served_by: v4,
            ..VipPacket::new(v6, number)
        };
        let bytes = packet.encode();
        prop_assert_eq!(bytes.len(), VIP_PACKET_BYTES);
        prop_assert_eq!(VipPacket::decode(&bytes), Some(packet));
        prop_assert_eq!(VipPacket::decode(&bytes[1..]), None);
    }

    #[test]
    fn garbage_is_no_packet(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), is_ours in any::<bool>()) {
        if is_ours {
            bytes.splice(..bytes.len().min(5), *b"SSVP\x01");
        }
        if let Some(packet) = VipPacket::decode(&bytes) {
            // Mapped addresses have one form.
            prop_assert_eq!(VipPacket::decode(&packet.encode()), Some(packet));
        }
    }
}
