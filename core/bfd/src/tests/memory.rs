//! What a session costs.

use std::mem::size_of;

use super::*;

/// The numbers in the documentation of [`Session`]. A node of a B-tree has room for 11 entries and holds 5 at least (but
/// the root); its head and edges come to less than 16 bytes an entry.
#[test]
fn a_session_stays_within_its_memory() {
    let session = size_of::<Session>();
    assert!(session <= 224, "a session has {session} bytes");
    let by_id = session + size_of::<SessionId>();
    let by_discriminator = size_of::<(Discriminator, SessionId)>();
    let by_path = size_of::<(Path, SessionId)>();
    let timer = size_of::<(Time, SessionId)>();
    let entries = by_id + by_discriminator + by_path + timer;
    let worst = entries * 11 / 5 + 4 * 16;
    assert!(worst <= 736, "a session costs {worst} bytes at worst, {entries} at best");
}

#[test]
fn ten_thousand_sessions_share_one_queue_and_keep_their_times() {
    const SESSIONS: u32 = 10_000;
    let mut sessions = Sessions::new(IdSource::new(9));
    let one = |n: u32| {
        let peer = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0001 + n));
        let config = config(Role::Active);
        Input::Configure {
            session: SessionId(n),
            config: Config { path: Path { peer, ..config.path }, ..config },
        }
    };
    let first = handle(&mut sessions, Time(0), (0..SESSIONS).map(one).collect());
    assert_eq!(sent(&first).len(), SESSIONS as usize);
    let discriminators: std::collections::BTreeSet<_> =
        sessions.iter().map(|(_, session)| session.discriminator()).collect();
    assert_eq!(discriminators.len(), SESSIONS as usize);
    // Nobody answers: each sends once in 0.75 to 1 s.
    let (mut packets, mut turns) = (0, 0);
    while let Some((at, why)) = sessions.next_deadline().filter(|(at, _)| *at <= Time(10_000)) {
        assert_eq!(why, "BFD transmission");
        packets += sent(&handle(&mut sessions, at, vec![])).len();
        turns += 1;
    }
    assert!((100_000..=134_000).contains(&packets), "{packets} packets in 10 s");
    assert!(turns <= 10_000, "{turns} wake-ups in 10 s");
}
