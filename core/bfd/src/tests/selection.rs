//! Which packet is whose, and which is dropped.

use std::net::Ipv6Addr;

use super::peer::Scene;
use super::*;

fn dropped(effects: &[Effect]) -> Option<(Option<SessionId>, DropReason)> {
    notes(effects).into_iter().find_map(|note| match note {
        Note::Dropped { session, reason, .. } => Some((session, reason)),
        Note::Negotiated { .. } | Note::PeerDemand { .. } | Note::Refused { .. } | Note::Removed { .. } => {
            None
        }
    })
}

#[test]
fn every_unwanted_packet_is_dropped_for_its_own_reason() {
    let other = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    type Spoil = Box<dyn Fn(&mut Arrival)>;
    fn said(spoil: impl Fn(&mut Packet) + 'static) -> Spoil {
        Box::new(move |arrival| {
            if let Ok(decoded) = &mut arrival.content {
                spoil(&mut decoded.packet);
            }
        })
    }
    let rows: Vec<(&str, Spoil, Option<SessionId>, DropReason)> = vec![
        ("bad bytes", Box::new(|a| a.content = decode(&[0; 3])), None, DropReason::TooShort),
        ("version", Box::new(|a| a.content = decode(&[0; 24])), None, DropReason::Version),
        ("stranger", Box::new(move |a| a.path.peer = other), None, DropReason::NoSession),
        ("other address of ours", Box::new(move |a| a.path.local = other), None, DropReason::NoSession),
        ("single-hop port", Box::new(|a| a.path.hops = Hops::Single), None, DropReason::NoSession),
        (
            "unknown discriminator",
            said(|p| p.your_discriminator = Discriminator::new(1)),
            None,
            DropReason::UnknownDiscriminator,
        ),
        (
            "Init without discriminator",
            said(|p| p.state = State::Init),
            None,
            DropReason::DiscriminatorMissing,
        ),
        ("Up without discriminator", said(|p| p.state = State::Up), None, DropReason::DiscriminatorMissing),
        ("from too far", Box::new(|a| a.ttl = 9), Some(ID), DropReason::Ttl),
        (
            "authenticated",
            Box::new(|a| {
                if let Ok(decoded) = &mut a.content {
                    decoded.auth = Some(AuthSection::SimplePassword { key_id: 1, password_bytes: 4 });
                }
            }),
            Some(ID),
            DropReason::AuthNotInUse,
        ),
    ];
    for (what, spoil, owner, reason) in rows {
        let mut scene = Scene::new(Config { min_ttl: 10, ..config(Role::Passive) });
        let mut arrival = scene.arrival(scene.says);
        spoil(&mut arrival);
        let effects = scene.input(Input::Received(arrival));
        assert_eq!(dropped(&effects), Some((owner, reason)), "{what}");
        assert_eq!(sent(&effects), [], "{what}");
        assert_eq!(scene.session().state(), State::Down, "{what}");
        assert_eq!(scene.session().remote(), None, "{what}");
        assert_eq!(scene.sessions.drops().of(reason), 1, "{what}");
        assert_eq!(scene.session().counters().drops.of(reason), u64::from(owner.is_some()), "{what}");
    }
}

#[test]
fn a_known_discriminator_on_the_wrong_port_is_dropped() {
    let mut scene = Scene::in_state(config(Role::Active), State::Up);
    let your_discriminator = Some(scene.session().discriminator());
    let mut arrival = scene.arrival(Packet { state: State::Down, your_discriminator, ..scene.says });
    arrival.path.hops = Hops::Single;
    arrival.ttl = 255;
    assert_eq!(dropped(&scene.input(Input::Received(arrival))), Some((Some(ID), DropReason::WrongPort)));
    assert_eq!(scene.session().state(), State::Up);
}

#[test]
fn single_hop_takes_ttl_255_only() {
    let base = config(Role::Active);
    let path = Path { hops: Hops::Single, ..base.path };
    for ttl in [0, 1, 254, 255] {
        let mut scene = Scene::new(Config { path, ..base });
        let arrival = Arrival { path, ttl, ..scene.arrival(scene.says) };
        scene.input(Input::Received(arrival));
        assert_eq!(scene.session().state() == State::Init, ttl == 255, "{ttl}");
    }
}

#[test]
fn once_the_discriminator_is_known_the_source_may_change() {
    let mut scene = Scene::in_state(config(Role::Active), State::Init);
    let your_discriminator = Some(scene.session().discriminator());
    let mut arrival = scene.arrival(Packet { state: State::Up, your_discriminator, ..scene.says });
    arrival.path.peer = IpAddr::V6(Ipv6Addr::LOCALHOST);
    scene.input(Input::Received(arrival));
    assert_eq!(scene.session().state(), State::Up);
}

#[test]
fn the_most_specific_session_takes_a_packet_without_discriminator() {
    let base = config(Role::Passive);
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let paths = [
        Path { local: any, ..base.path },
        Path { local: any, link: Link(4), ..base.path },
        base.path,
        Path { link: Link(4), ..base.path },
    ];
    // Sessions 0..n exist: the last one is the most specific for a packet that came by link 4.
    for n in 1..=paths.len() {
        let mut sessions = Sessions::new(IdSource::new(1));
        for (id, path) in paths.iter().enumerate().take(n) {
            let config = Config { path: *path, ..base };
            handle(&mut sessions, Time(0), vec![Input::Configure { session: SessionId(id as u32), config }]);
        }
        let says = Scene::new(base).says.encode();
        // As a dual-stack socket reports it.
        let mapped = |address: IpAddr| match address {
            IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
            IpAddr::V6(v6) => IpAddr::V6(v6),
        };
        let arrival = Arrival::read(Time(1), mapped(A), mapped(B), Link(4), Hops::Multi, 60, &says);
        handle(&mut sessions, Time(1), vec![Input::Received(arrival)]);
        let woken: Vec<u32> =
            sessions.iter().filter(|(_, s)| s.state() == State::Init).map(|(id, _)| id.0).collect();
        assert_eq!(woken, [n as u32 - 1]);
    }
}

#[test]
fn link_local_peers_of_two_interfaces_are_two() {
    let peer = IpAddr::V6("fe80::1".parse().unwrap());
    let local = IpAddr::V6("fe80::2".parse().unwrap());
    let mut sessions = Sessions::new(IdSource::new(1));
    for link in [1, 2] {
        let path = Path { peer, local, link: Link(link), hops: Hops::Single };
        let config = Config { path, ..config(Role::Passive) };
        let out = handle(&mut sessions, Time(0), vec![Input::Configure { session: SessionId(link), config }]);
        assert_eq!(out, [], "a passive session is silent");
    }
    let says = Scene::new(config(Role::Active)).says.encode();
    let arrival = Arrival::read(Time(1), peer, local, Link(2), Hops::Single, 255, &says);
    handle(&mut sessions, Time(1), vec![Input::Received(arrival)]);
    let states: Vec<State> = sessions.iter().map(|(_, session)| session.state()).collect();
    assert_eq!(states, [State::Down, State::Init]);
}

#[test]
fn configurations_that_cannot_be_are_refused() {
    let base = config(Role::Active);
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let rows = [
        (Path { peer: v6, ..base.path }, Refusal::MixedFamilies),
        (Path { peer: IpAddr::V4(Ipv4Addr::UNSPECIFIED), ..base.path }, Refusal::BadPeer),
        (Path { peer: IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1)), ..base.path }, Refusal::BadPeer),
        (base.path, Refusal::PathTaken { by: ID }),
    ];
    for (path, refusal) in rows {
        let mut scene = Scene::new(base);
        let session = SessionId(8);
        let out = scene.input(Input::Configure { session, config: Config { path, ..base } });
        assert_eq!(out, [Effect::Note(Note::Refused { session, refusal })]);
        assert_eq!(scene.sessions.len(), 1);
    }
    let session = SessionId(9);
    let unknown = Effect::Note(Note::Refused { session, refusal: Refusal::Unknown });
    let mut scene = Scene::new(base);
    assert_eq!(scene.input(Input::Remove { session }), [unknown]);
    assert_eq!(scene.input(Input::AdminUp { session }), [unknown]);
    assert_eq!(scene.input(Input::AdminDown { session, diagnostic: Diagnostic::PATH_DOWN }), [unknown]);
}

#[test]
fn a_flood_of_bad_packets_is_logged_as_it_doubles() {
    let mut scene = Scene::new(config(Role::Passive));
    let arrival = Arrival { content: decode(&[]), ..scene.arrival(scene.says) };
    let logged: usize = (0..1000).map(|_| notes(&scene.input(Input::Received(arrival))).len()).sum();
    assert_eq!(logged, 10);
    assert_eq!(scene.sessions.drops().total(), 1000);
    let names: std::collections::BTreeSet<_> = DropReason::ALL.map(DropReason::name).into_iter().collect();
    assert_eq!(names.len(), DropReason::ALL.len());
}
