use proptest::prelude::*;
use schema::{AsicHaRole, AsicHaState};

use crate::DATAGRAM_BYTES;
use crate::wire::{Datagram, WireError};

fn datagram() -> impl Strategy<Value = Datagram> {
    let state = prop::sample::select(AsicHaState::ALL);
    let role = prop::sample::select(AsicHaRole::ALL);
    let numbers = (1..=u64::MAX, any::<u64>(), any::<u64>(), any::<u64>());
    (numbers, state, role, any::<(u32, u32, u64, u32)>()).prop_map(
        |((session, seen, seq, ack), state, role, (term, init, synced, synced_init))| Datagram {
            session,
            seen,
            seq,
            ack,
            state,
            role,
            term,
            init,
            synced: (synced, synced_init),
        },
    )
}

proptest! {
    #[test]
    fn what_is_said_is_what_is_heard(said in datagram()) {
        let bytes = said.encode();
        prop_assert_eq!(bytes.len(), DATAGRAM_BYTES);
        prop_assert_eq!(Datagram::decode(&bytes), Ok(said));
    }

    #[test]
    fn noise_is_refused_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Datagram::decode(&bytes).is_err());
    }

    #[test]
    fn a_spoilt_datagram_never_panics(said in datagram(), at in 0..DATAGRAM_BYTES, byte: u8) {
        let mut bytes = said.encode();
        bytes[at] = byte;
        let _spoilt = Datagram::decode(&bytes);
    }
}

#[test]
fn each_kind_of_bad_datagram_has_its_error() {
    let good = Datagram {
        session: 1,
        seen: 0,
        seq: 1,
        ack: 0,
        state: AsicHaState::Dead,
        role: AsicHaRole::Dead,
        term: 0,
        init: 0,
        synced: (0, 0),
    };
    let spoilt = |at: usize, byte: u8| {
        let mut bytes = good.encode();
        bytes[at] = byte;
        Datagram::decode(&bytes)
    };
    assert_eq!(Datagram::decode(&[]), Err(WireError::Length));
    assert_eq!(Datagram::decode(&[good.encode(), vec![0]].concat()), Err(WireError::Length));
    assert_eq!(spoilt(0, b'x'), Err(WireError::Version));
    assert_eq!(spoilt(4, 2), Err(WireError::Version));
    assert_eq!(spoilt(5, 13), Err(WireError::Value));
    assert_eq!(spoilt(6, 5), Err(WireError::Value));
    assert_eq!(spoilt(15, 0), Err(WireError::Value), "session 0");
}
