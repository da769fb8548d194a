//! Bytes.

use proptest::prelude::*;

use super::*;

/// A first packet: Down, multiplier 3, sends at 1 s, receives at 100 ms.
const DOWN: [u8; 24] = [
    0x20, 0x40, 3, 24, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0, 0x00, 0x0f, 0x42, 0x40, 0x00, 0x01, 0x86, 0xa0, 0,
    0, 0, 0,
];

/// Up with Poll, both discriminators, diagnostic 3.
const UP_POLL: [u8; 24] = [
    0x23, 0xe0, 5, 24, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 0x00, 0x01, 0x86, 0xa0, 0x00, 0x03,
    0x0d, 0x40, 0, 0, 0, 50,
];

fn down() -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state: State::Down,
        handshake: Handshake::None,
        control_plane_independent: false,
        demand: false,
        detect_multiplier: times(3),
        my_discriminator: discriminator(0x1234_5678),
        your_discriminator: None,
        desired_min_tx_us: 1_000_000,
        required_min_rx_us: 100_000,
        required_min_echo_rx_us: 0,
    }
}

#[test]
fn golden_packets_read_and_write_to_the_byte() {
    let up_poll = Packet {
        diagnostic: Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN,
        state: State::Up,
        handshake: Handshake::Poll,
        detect_multiplier: times(5),
        your_discriminator: Some(discriminator(0x9abc_def0)),
        desired_min_tx_us: 100_000,
        required_min_rx_us: 200_000,
        required_min_echo_rx_us: 50,
        ..down()
    };
    for (bytes, packet) in [(DOWN, down()), (UP_POLL, up_poll)] {
        assert_eq!(decode(&bytes), Ok(Decoded { packet, auth: None }));
        assert_eq!(packet.encode(), bytes);
    }
}

#[test]
fn every_bit_of_the_flags_has_its_place() {
    let flags = |packet: Packet| packet.encode()[1];
    assert_eq!(flags(Packet { state: State::AdminDown, ..down() }), 0x00);
    assert_eq!(flags(Packet { state: State::Init, ..down() }), 0x80);
    assert_eq!(flags(Packet { state: State::Up, ..down() }), 0xc0);
    assert_eq!(flags(Packet { handshake: Handshake::Poll, ..down() }), 0x60);
    assert_eq!(flags(Packet { handshake: Handshake::Final, ..down() }), 0x50);
    assert_eq!(flags(Packet { control_plane_independent: true, ..down() }), 0x48);
    assert_eq!(flags(Packet { demand: true, ..down() }), 0x42);
}

/// One row per check of RFC 5880 6.8.6: the byte to change, its value, the refusal.
#[test]
fn each_check_of_the_header_has_its_own_reason() {
    let rows: [(usize, u8, DecodeError); 11] = [
        (0, 0x00, DecodeError::Version(0)),
        (0, 0x40, DecodeError::Version(2)),
        (0, 0xe0, DecodeError::Version(7)),
        (2, 0, DecodeError::DetectMultiplierZero),
        (3, 0, DecodeError::LengthTooSmall(0)),
        (3, 23, DecodeError::LengthTooSmall(23)),
        (3, 25, DecodeError::LengthBeyondPayload { length: 25, payload: 24 }),
        (3, 255, DecodeError::LengthBeyondPayload { length: 255, payload: 24 }),
        (1, 0x41, DecodeError::Multipoint),
        (1, 0x70, DecodeError::PollAndFinal),
        // Authentication is promised, and its minimum length with it.
        (1, 0x44, DecodeError::LengthTooSmall(24)),
    ];
    for (at, value, error) in rows {
        let mut bytes = DOWN;
        bytes[at] = value;
        assert_eq!(decode(&bytes), Err(error), "byte {at} = {value:#x}");
    }
    let mut bytes = DOWN;
    bytes[4..8].fill(0);
    assert_eq!(decode(&bytes), Err(DecodeError::MyDiscriminatorZero));
    for length in 0..24 {
        assert_eq!(decode(&DOWN[..length]), Err(DecodeError::TooShort(length)));
    }
}

#[test]
fn bytes_after_the_length_are_ignored() {
    let mut bytes = DOWN.to_vec();
    bytes.extend([0xff; 2000]);
    assert_eq!(decode(&bytes), Ok(Decoded { packet: down(), auth: None }));
}

fn with_auth(section: &[u8]) -> Result<Option<AuthSection>, DecodeError> {
    let mut bytes = DOWN.to_vec();
    bytes[1] |= 0x04;
    bytes[3] += section.len() as u8;
    bytes.extend(section);
    decode(&bytes).map(|decoded| decoded.auth)
}

fn section(auth_type: u8, length: u8) -> Vec<u8> {
    let mut bytes = vec![auth_type, length, 9, 0, 0, 0, 1, 2];
    bytes.resize(usize::from(length).max(2), 0x55);
    bytes
}

#[test]
fn authentication_sections_are_told_apart() {
    let password =
        |length: u8| Ok(Some(AuthSection::SimplePassword { key_id: 9, password_bytes: length - 3 }));
    let md5 = |meticulous| Ok(Some(AuthSection::KeyedMd5 { meticulous, key_id: 9, sequence: 0x102 }));
    let sha1 = |meticulous| Ok(Some(AuthSection::KeyedSha1 { meticulous, key_id: 9, sequence: 0x102 }));
    let wrong = |auth_type, length| Err(DecodeError::Auth(AuthError::Length { auth_type, length }));
    let rows = [
        (1, 3, wrong(1, 3)),
        (1, 4, password(4)),
        (1, 19, password(19)),
        (1, 20, wrong(1, 20)),
        (2, 24, md5(false)),
        (3, 24, md5(true)),
        (2, 23, wrong(2, 23)),
        (3, 28, wrong(3, 28)),
        (4, 28, sha1(false)),
        (5, 28, sha1(true)),
        (4, 24, wrong(4, 24)),
        (0, 8, Err(DecodeError::Auth(AuthError::ReservedType(0)))),
        (6, 8, Err(DecodeError::Auth(AuthError::ReservedType(6)))),
    ];
    for (auth_type, length, expected) in rows {
        assert_eq!(with_auth(&section(auth_type, length)), expected, "type {auth_type}, length {length}");
    }
    let truncated = |length, available| Err(DecodeError::Auth(AuthError::Truncated { length, available }));
    assert_eq!(with_auth(&[2, 24, 9, 0]), truncated(24, 4));
    assert_eq!(with_auth(&[1, 2]), truncated(2, 2));
}

#[test]
fn the_port_and_ttl_rules_are_those_of_the_rfcs() {
    assert_eq!((Hops::Single.port(), Hops::Multi.port()), (3784, 4784));
    assert_eq!(Hops::of_port(3784), Some(Hops::Single));
    assert_eq!(Hops::of_port(4784), Some(Hops::Multi));
    assert_eq!(Hops::of_port(3785), None);
    for ttl in 0..=255 {
        assert_eq!(Hops::Single.accepts_ttl(ttl, 1), ttl == 255);
        assert_eq!(Hops::Multi.accepts_ttl(ttl, 254), ttl >= 254);
    }
    assert!(!is_source_port(49151) && is_source_port(49152) && is_source_port(65535));
    let ports: std::collections::BTreeSet<u16> = (0..=u16::MAX).map(source_port).collect();
    assert_eq!(ports.len(), SESSIONS_MAX);
    assert!(ports.into_iter().all(is_source_port));
}

#[test]
fn words_of_the_table_become_roles_and_demand_mode_is_refused() {
    assert_eq!("async_active".parse(), Ok(Role::Active));
    assert_eq!("async_passive".parse(), Ok(Role::Passive));
    assert_eq!("passive".parse(), Ok(Role::Passive));
    assert_eq!("demand_active".parse::<Role>(), Err(RoleError::Demand("demand_active".into())));
    assert_eq!("demand_passive".parse::<Role>(), Err(RoleError::Demand("demand_passive".into())));
    assert_eq!("".parse::<Role>(), Err(RoleError::Unknown("".into())));
}

#[test]
fn values_that_cannot_be_are_refused_from_json_too() {
    assert_eq!(serde_json::from_str::<Interval>("100").unwrap(), ms(100));
    for bad in ["0", "9", "4294968"] {
        assert!(serde_json::from_str::<Interval>(bad).is_err(), "{bad}");
    }
    assert!(serde_json::from_str::<Diagnostic>("31").is_ok());
    assert!(serde_json::from_str::<Diagnostic>("32").is_err());
    assert!(serde_json::from_str::<Discriminator>("0").is_err());
}

pub(super) fn packets() -> impl Strategy<Value = Packet> {
    let handshake = prop_oneof![Just(Handshake::None), Just(Handshake::Poll), Just(Handshake::Final)];
    let state = (0u8..4).prop_map(State::from_code);
    (
        (0u8..32, state, handshake, any::<bool>(), any::<bool>()),
        (1u8..=255, 1u32.., any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()),
    )
        .prop_map(|((diagnostic, state, handshake, c, d), (multiplier, my, your, tx, rx, echo))| {
            Packet {
                diagnostic: Diagnostic::from_code(diagnostic),
                state,
                handshake,
                control_plane_independent: c,
                demand: d,
                detect_multiplier: times(multiplier),
                my_discriminator: discriminator(my),
                your_discriminator: Discriminator::new(your),
                desired_min_tx_us: tx,
                required_min_rx_us: rx,
                required_min_echo_rx_us: echo,
            }
        })
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(packet in packets()) {
        prop_assert_eq!(decode(&packet.encode()), Ok(Decoded { packet, auth: None }));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(Decoded { packet, auth: None }) = decode(&bytes) {
            // All of the mandatory section but Length is in the packet.
            let mut written = packet.encode();
            written[3] = bytes[3];
            prop_assert_eq!(&written[..], &bytes[..24]);
        }
    }

    #[test]
    fn a_packet_with_any_byte_spoilt_is_read_without_panic(
        packet in packets(), at in 0usize..24, value: u8, tail in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes = packet.encode().to_vec();
        bytes[at] = value;
        bytes.extend(tail);
        if let Ok(decoded) = decode(&bytes) {
            prop_assert_eq!(decoded.auth.is_some(), bytes[1] & 0x04 != 0);
        }
    }
}
