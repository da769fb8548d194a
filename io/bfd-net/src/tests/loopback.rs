//! Servers that talk to each other over the loopback interface, each on an address of its own.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::time::Duration;

use bfd::{Cause, Diagnostic, DropReason, Hops, Interval, Link, Path, Role, State};

use crate::{Bind, Events, Server, ServerConfig, Spec, Wanted};

/// An address of this process and test, within the 127.0.0.0/8 that several test runs share.
fn address(test: u8, host: u8) -> IpAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 128 | high, low, test * 8 + host))
}

fn path(test: u8, local: u8, peer: u8, hops: Hops) -> Path {
    Path { peer: address(test, peer), local: address(test, local), link: Link::ANY, hops }
}

fn spec(role: Role) -> Spec {
    let interval = Interval::from_ms(50).unwrap();
    Spec {
        role,
        desired_min_tx: interval,
        required_min_rx: interval,
        // Tests share the machine.
        detect_multiplier: NonZeroU8::new(100).unwrap(),
        min_ttl: 1,
        held_down: None,
    }
}

fn start(seed: u64) -> (Server, Events) {
    Server::start(ServerConfig { bind: Bind::PerAddress, seed }).unwrap()
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("never happened: {what}"),
    }
}

/// Reads events until the session is in a state.
async fn until(events: &mut Events, path: Path, state: Option<State>) -> crate::Change {
    within(&format!("{path:?} is {state:?}"), async {
        loop {
            let changes = events.next().await.expect("the server is there");
            if let Some(change) =
                changes.into_iter().find(|change| change.path == path && change.state == state)
            {
                return change;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_passive_and_an_active_session_come_up_and_a_farewell_takes_the_peer_down_at_once() {
    for (test, hops) in [(1, Hops::Multi), (2, Hops::Single)] {
        let (here, there) = (path(test, 1, 2, hops), path(test, 2, 1, hops));
        let ((dpu, mut dpu_events), (npu, mut npu_events)) = (start(1), start(2));
        dpu.want(Wanted::from([(here, spec(Role::Passive))]));
        npu.want(Wanted::from([(there, spec(Role::Active))]));
        until(&mut npu_events, there, Some(State::Up)).await;
        until(&mut dpu_events, here, Some(State::Up)).await;

        let view = dpu.snapshot().await.sessions.remove(&here).unwrap();
        assert_eq!(view.state, State::Up);
        assert_eq!(view.counters.ups, 1);
        assert_eq!(dpu.totals().sessions_up(), 1);

        let unanswered = within("the farewell is answered", dpu.close(Duration::from_secs(15))).await;
        assert_eq!(unanswered, 0, "{hops:?}");
        let down = until(&mut npu_events, there, Some(State::Down)).await;
        let told = Cause::PeerIs { state: State::AdminDown, diagnostic: Diagnostic::ADMINISTRATIVELY_DOWN };
        assert_eq!(down.cause, Some(told));
        assert_eq!(dpu_events_end(&mut dpu_events).await, Some(here));
    }
}

/// Reads to the end; the last session that was gone.
async fn dpu_events_end(events: &mut Events) -> Option<Path> {
    let mut last = None;
    within("the events end", async {
        while let Some(changes) = events.next().await {
            last = changes.iter().rfind(|change| change.state.is_none()).map(|change| change.path).or(last);
        }
    })
    .await;
    last
}

#[tokio::test]
async fn a_session_that_is_held_down_says_why_and_comes_back_when_it_is_not() {
    let (here, there) = (path(3, 1, 2, Hops::Multi), path(3, 2, 1, Hops::Multi));
    let ((dpu, mut dpu_events), (npu, mut npu_events)) = (start(3), start(4));
    dpu.want(Wanted::from([(here, spec(Role::Passive))]));
    npu.want(Wanted::from([(there, spec(Role::Active))]));
    until(&mut npu_events, there, Some(State::Up)).await;
    let held = Spec { held_down: Some(Diagnostic::ADMINISTRATIVELY_DOWN), ..spec(Role::Passive) };
    let generation = dpu.want(Wanted::from([(here, held)]));
    within("it is in force", dpu.applied(generation)).await;
    until(&mut npu_events, there, Some(State::Down)).await;
    dpu.want(Wanted::from([(here, spec(Role::Passive))]));
    until(&mut npu_events, there, Some(State::Up)).await;
    until(&mut dpu_events, here, Some(State::Up)).await;
}

#[tokio::test]
async fn a_packet_from_too_far_away_and_garbage_are_counted_by_reason() {
    let here = path(4, 1, 2, Hops::Single);
    let (server, _events) = start(5);
    let generation = server.want(Wanted::from([(here, spec(Role::Passive))]));
    within("it listens", server.applied(generation)).await;
    let far = std::net::UdpSocket::bind(SocketAddr::new(here.peer, 0)).unwrap();
    far.set_ttl(64).unwrap();
    let packet = bfd::Packet {
        diagnostic: Diagnostic::NONE,
        state: State::Down,
        handshake: bfd::Handshake::None,
        control_plane_independent: false,
        demand: false,
        detect_multiplier: NonZeroU8::new(3).unwrap(),
        my_discriminator: bfd::Discriminator::new(7).unwrap(),
        your_discriminator: None,
        desired_min_tx_us: 1_000_000,
        required_min_rx_us: 1_000_000,
        required_min_echo_rx_us: 0,
    };
    let to = SocketAddr::new(here.local, Hops::Single.port());
    far.send_to(&packet.encode(), to).unwrap();
    far.send_to(b"hello", to).unwrap();
    within("both are counted", async {
        loop {
            let drops = server.snapshot().await.drops;
            if (drops.of(DropReason::Ttl), drops.of(DropReason::TooShort)) == (1, 1) {
                break;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let totals = server.totals();
    assert_eq!(totals.drops().find(|(reason, _)| *reason == DropReason::Ttl), Some((DropReason::Ttl, 1)));
    assert_eq!(totals.received(), 2);
}

#[tokio::test]
async fn hundreds_of_sessions_share_two_servers_and_each_has_a_source_port_of_its_own() {
    const SESSIONS: u8 = 250;
    let [_, _, high, low] = std::process::id().to_be_bytes();
    // The many live on addresses that no other test of this process uses.
    let many = |n: u8| IpAddr::V4(Ipv4Addr::new(127, 64 | (high & 63), low, n));
    let one = address(5, 1);
    let pair = |n: u8| {
        let (a, b) = (many(n + 1), one);
        let path = |peer, local| Path { peer, local, link: Link::ANY, hops: Hops::Multi };
        (path(a, b), path(b, a))
    };
    let ((dpu, mut dpu_events), (npu, mut npu_events)) = (start(6), start(7));
    dpu.want((0..SESSIONS).map(|n| (pair(n).0, spec(Role::Passive))).collect());
    npu.want((0..SESSIONS).map(|n| (pair(n).1, spec(Role::Active))).collect());
    for events in [&mut dpu_events, &mut npu_events] {
        let mut up = std::collections::BTreeSet::new();
        within("all are up", async {
            while up.len() < usize::from(SESSIONS) {
                for change in events.next().await.expect("the server is there") {
                    if change.state == Some(State::Up) {
                        up.insert(change.path);
                    } else {
                        up.remove(&change.path);
                    }
                }
            }
        })
        .await;
    }
    assert_eq!(dpu.totals().sessions_up(), u64::from(SESSIONS));
    let mut answered = Wanted::new();
    answered.insert(pair(0).0, spec(Role::Passive));
    dpu.want(answered);
    until(&mut dpu_events, pair(1).0, None).await;
    assert_eq!(within("all answer", dpu.close(Duration::from_secs(15))).await, 0);
}
