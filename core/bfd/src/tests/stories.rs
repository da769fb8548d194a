//! One session and a scripted peer.

use super::peer::{Scene, effects};
use super::*;

#[test]
fn an_active_session_speaks_at_once_and_then_slowly() {
    let mut sessions = Sessions::new(IdSource::new(5));
    let configure = Input::Configure { session: ID, config: config(Role::Active) };
    let first = sent(&handle(&mut sessions, Time(0), vec![configure]));
    assert_eq!(first.len(), 1);
    let Packet { state, your_discriminator, desired_min_tx_us, required_min_rx_us, .. } = first[0];
    assert_eq!((state, your_discriminator), (State::Down, None));
    assert_eq!((desired_min_tx_us, required_min_rx_us), (SLOW_TX_US, 100_000));
    let mut last = Time(0);
    for _ in 0..100 {
        let (at, _) = sessions.next_deadline().unwrap();
        assert!((750..=1000).contains(&at.since_ms(last)));
        assert_eq!(sent(&handle(&mut sessions, at, vec![])), first);
        last = at;
    }
    assert_eq!(handle(&mut sessions, last, vec![configure]), [], "the same configuration again");
}

/// RFC 5880 6.8.7: "A system MUST NOT transmit BFD Control packets if bfd.RemoteDiscr is zero and the system is taking
/// the Passive role."
#[test]
fn a_passive_session_speaks_only_while_it_knows_its_peer() {
    let mut scene = Scene::new(config(Role::Passive));
    assert_eq!(scene.sessions.next_deadline(), None);
    assert_eq!(scene.pass(100_000), []);
    let answer = sent(&scene.hear(State::Down));
    assert_eq!(answer.len(), 1);
    assert_eq!(
        (answer[0].state, answer[0].your_discriminator),
        (State::Init, Some(scene.says.my_discriminator))
    );
    scene.hear(State::Init);
    assert_eq!(scene.session().state(), State::Up);
    // The peer dies: one last word that still names it, then silence for ever.
    let end = effects(&scene.pass(302));
    assert_eq!(changes(&end), [(State::Up, State::Down, Diagnostic::CONTROL_DETECTION_TIME_EXPIRED)]);
    let last = *sent(&end).last().unwrap();
    assert_eq!((last.state, last.your_discriminator), (State::Down, Some(scene.says.my_discriminator)));
    assert_eq!(scene.session().remote(), None);
    assert_eq!(scene.pass(100_000), []);
}

#[test]
fn detection_follows_the_peers_multiplier_and_the_greater_interval() {
    // Peer's multiplier, peer's desired tx us, our required rx ms, detection us.
    let rows = [
        (3, 100_000, 100, 300_000),
        (5, 50_000, 200, 1_000_000),
        (1, 999_999, 10, 999_999),
        (2, 0, 100, 200_000),
    ];
    for (multiplier, desired_us, required_ms, detection_us) in rows {
        let own = Config { required_min_rx: ms(required_ms), ..config(Role::Active) };
        let mut scene = Scene::new(own);
        scene.says.detect_multiplier = times(multiplier);
        scene.says.desired_min_tx_us = desired_us;
        scene.hear(State::Down);
        scene.hear(State::Init);
        assert_eq!(scene.session().timing().detection_us, Some(detection_us));
        let heard = scene.now;
        let timed = scene.pass(3000);
        let fell = timed.iter().find(|(_, effect)| matches!(effect, Effect::StateChanged { .. })).unwrap().0;
        let silence_us = fell.since_ms(heard) * 1000;
        // The packet may have come up to 1 ms later than its time says: never early, less than 2 ms late.
        assert!(silence_us >= detection_us + 1000 && silence_us < detection_us + 2000, "{silence_us} us");
    }
}

#[test]
fn a_packet_that_waited_in_the_socket_saves_the_session_and_one_that_came_too_late_does_not() {
    for (at, saved) in [(300, true), (301, false), (399, false)] {
        let mut scene = Scene::in_state(config(Role::Active), State::Up);
        let up = scene.now;
        let your_discriminator = Some(scene.session().discriminator());
        let packet = Packet { state: State::Up, your_discriminator, ..scene.says };
        let arrival = Arrival { at: up.after_ms(at), ..scene.arrival(packet) };
        // The process was starved for 400 ms.
        scene.now = up.after_ms(400);
        let out = scene.input(Input::Received(arrival));
        assert_eq!(changes(&out).is_empty(), saved, "{at} ms");
    }
}

#[test]
fn a_time_stamp_from_the_future_or_out_of_order_does_not_move_detection() {
    let mut scene = settled();
    let heard = scene.now;
    let your_discriminator = Some(scene.session().discriminator());
    let packet = Packet { state: State::Up, your_discriminator, ..scene.says };
    for at in [heard.after_ms(1_000_000), Time(0)] {
        let arrival = Arrival { at, ..scene.arrival(packet) };
        scene.input(Input::Received(arrival));
        assert_eq!(scene.session().remote().map(|remote| remote.received_at), Some(heard));
    }
}

#[test]
fn going_up_lowers_the_interval_under_a_poll() {
    let mut scene = Scene::in_state(config(Role::Active), State::Init);
    let up = sent(&scene.hear(State::Init));
    assert_eq!(up.len(), 1);
    assert_eq!(
        (up[0].state, up[0].handshake, up[0].desired_min_tx_us),
        (State::Up, Handshake::Poll, 100_000)
    );
    let fast = effects(&scene.pass(250));
    assert!(sent(&fast).len() >= 2 && sent(&fast).iter().all(|packet| packet.handshake == Handshake::Poll));
    scene.hear_with(Handshake::Final);
    assert!(!scene.session().is_polling());
    let after = effects(&scene.pass(250));
    assert!(sent(&after).iter().all(|packet| packet.handshake == Handshake::None));
    assert_eq!(scene.session().state(), State::Up);
}

#[test]
fn a_poll_is_answered_once_and_at_once() {
    let mut scene = Scene::in_state(config(Role::Passive), State::Up);
    let answer = sent(&scene.hear_with(Handshake::Poll));
    assert_eq!(answer.iter().map(|packet| packet.handshake).collect::<Vec<_>>(), [Handshake::Final]);
    assert_eq!(sent(&scene.hear_with(Handshake::Final)), [], "a Final is not answered");
}

/// Up, with its Poll Sequences done.
fn settled() -> Scene {
    let mut scene = Scene::in_state(config(Role::Active), State::Up);
    while scene.session().is_polling() {
        scene.pass(100);
        scene.hear_with(Handshake::Final);
    }
    scene
}

#[test]
fn slower_sending_and_faster_receiving_wait_for_the_final() {
    let mut scene = settled();
    let slower = Config { desired_min_tx: ms(400), required_min_rx: ms(50), ..config(Role::Active) };
    scene.says.desired_min_tx_us = 10_000;
    scene.hear_with(Handshake::None);
    let told = sent(&scene.input(Input::Configure { session: ID, config: slower }));
    assert_eq!(told.len(), 1);
    let Packet { handshake, desired_min_tx_us, required_min_rx_us, .. } = told[0];
    assert_eq!((handshake, desired_min_tx_us, required_min_rx_us), (Handshake::Poll, 400_000, 50_000));
    let old = Timing { transmit_us: Some(100_000), detection_us: Some(300_000) };
    assert_eq!(scene.session().timing(), old);
    let noted = notes(&scene.hear_with(Handshake::Final));
    let timing = Timing { transmit_us: Some(400_000), detection_us: Some(150_000) };
    assert_eq!(noted, [Note::Negotiated { session: ID, timing }]);
}

#[test]
fn faster_sending_and_slower_receiving_count_at_once() {
    let mut scene = settled();
    scene.says.required_min_rx_us = 10_000;
    scene.hear_with(Handshake::None);
    let config = Config { desired_min_tx: ms(20), required_min_rx: ms(500), ..config(Role::Active) };
    scene.input(Input::Configure { session: ID, config });
    let timing = Timing { transmit_us: Some(20_000), detection_us: Some(1_500_000) };
    assert_eq!(scene.session().timing(), timing);
    assert!(scene.session().is_polling());
    let packets = sent(&effects(&scene.pass(100)));
    assert!((5..=7).contains(&packets.len()), "{} packets in 100 ms", packets.len());
}

#[test]
fn an_answer_to_the_first_question_does_not_answer_the_second() {
    let mut scene = settled();
    for desired_ms in [400, 600] {
        let config = Config { desired_min_tx: ms(desired_ms), ..config(Role::Active) };
        scene.input(Input::Configure { session: ID, config });
    }
    scene.hear_with(Handshake::Final);
    assert!(scene.session().is_polling());
    scene.pass(100);
    scene.hear_with(Handshake::Final);
    assert!(!scene.session().is_polling());
    assert_eq!(scene.session().timing().transmit_us, Some(600_000));
}

#[test]
fn a_new_multiplier_is_told_without_a_poll() {
    let mut scene = settled();
    let config = Config { detect_multiplier: times(9), ..config(Role::Active) };
    let told = sent(&scene.input(Input::Configure { session: ID, config }));
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].detect_multiplier.get(), told[0].handshake), (9, Handshake::None));
}

#[test]
fn a_peer_that_wants_other_intervals_gets_them_from_the_next_packet_on() {
    for (peer_rx_us, gap_ms) in [(500_000, 376..=500), (20_000, 76..=100)] {
        let mut scene = settled();
        scene.says.desired_min_tx_us = 10_000_000;
        scene.says.required_min_rx_us = peer_rx_us;
        scene.hear_with(Handshake::Poll);
        let start = scene.now;
        let (at, _) = scene.pass(2000)[0];
        assert!(gap_ms.contains(&at.since_ms(start)), "{} ms", at.since_ms(start));
    }
}

#[test]
fn a_peer_that_wants_no_packets_gets_none_but_changes() {
    let mut scene = settled();
    scene.says.required_min_rx_us = 0;
    scene.hear_with(Handshake::None);
    assert_eq!(scene.session().timing().transmit_us, None);
    assert_eq!(scene.pass(250), []);
    assert_eq!(sent(&scene.hear_with(Handshake::Poll)).len(), 1);
    assert_eq!(changes(&effects(&scene.pass(400))).len(), 1, "it is still watched");
}

#[test]
fn a_peer_in_demand_mode_is_obeyed_and_still_watched() {
    let mut scene = settled();
    scene.says.demand = true;
    let noted = notes(&scene.hear_with(Handshake::None));
    assert!(noted.contains(&Note::PeerDemand { session: ID, silent: true }));
    assert_eq!(scene.pass(250), []);
    assert_eq!(sent(&scene.hear_with(Handshake::Poll)).len(), 1);
    // Our own change is polled for, with periodic packets until the answer.
    let config = Config { desired_min_tx: ms(50), ..config(Role::Active) };
    let polls = sent(&scene.input(Input::Configure { session: ID, config }));
    assert!(polls.iter().all(|packet| packet.handshake == Handshake::Poll && !packet.demand));
    assert!(!sent(&effects(&scene.pass(200))).is_empty());
    scene.hear_with(Handshake::Final);
    assert_eq!(sent(&effects(&scene.pass(250))), []);
    // Silence ends the session as ever, and with it the demand.
    let end = effects(&scene.pass(100));
    assert_eq!(changes(&end), [(State::Up, State::Down, Diagnostic::CONTROL_DETECTION_TIME_EXPIRED)]);
}

#[test]
fn the_administrator_holds_a_session_down_and_the_peer_hears_why() {
    for diagnostic in [Diagnostic::ADMINISTRATIVELY_DOWN, Diagnostic::PATH_DOWN] {
        let mut scene = settled();
        let down = Input::AdminDown { session: ID, diagnostic };
        let out = scene.input(down);
        assert_eq!(changes(&out), [(State::Up, State::AdminDown, diagnostic)]);
        let told = sent(&out);
        assert_eq!((told.len(), told[0].state, told[0].diagnostic), (1, State::AdminDown, diagnostic));
        assert_eq!(scene.input(down), [], "twice is once");
        // Configuring does not end it, nor does anything the peer says.
        scene.input(Input::Configure {
            session: ID,
            config: Config { detect_multiplier: times(4), ..config(Role::Active) },
        });
        for state in State::ALL {
            scene.hear(state);
        }
        assert_eq!(scene.session().state(), State::AdminDown);
        assert!(sent(&effects(&scene.pass(5000))).iter().all(|packet| packet.state == State::AdminDown));
        let out = scene.input(Input::AdminUp { session: ID });
        assert_eq!(changes(&out), [(State::AdminDown, State::Down, diagnostic)]);
        assert_eq!(sent(&out)[0].state, State::Down);
        assert_eq!(scene.input(Input::AdminUp { session: ID }), []);
    }
}

#[test]
fn a_session_that_is_created_held_down_never_says_anything_else() {
    let mut sessions = Sessions::new(IdSource::new(1));
    let diagnostic = Diagnostic::ADMINISTRATIVELY_DOWN;
    let inputs = vec![
        Input::Configure { session: ID, config: config(Role::Active) },
        Input::AdminDown { session: ID, diagnostic },
    ];
    let packets = sent(&handle(&mut sessions, Time(0), inputs));
    assert_eq!(packets.iter().map(|packet| packet.state).collect::<Vec<_>>(), [State::AdminDown]);
}

#[test]
fn a_removed_session_tells_its_peer_until_it_has_answered_or_would_have_noticed() {
    for answers in [true, false] {
        let mut scene = settled();
        let out = scene.input(Input::Remove { session: ID });
        assert_eq!(changes(&out), [(State::Up, State::AdminDown, Diagnostic::ADMINISTRATIVELY_DOWN)]);
        assert_eq!(sent(&out)[0].handshake, Handshake::Poll);
        assert!(scene.session().is_leaving());
        let removed = Effect::Note(Note::Removed { session: ID });
        if answers {
            assert!(scene.hear_with(Handshake::Final).contains(&removed));
        } else {
            scene.says.detect_multiplier = times(50);
            scene.hear_with(Handshake::None);
            let timed = scene.pass(60_000);
            assert_eq!(effects(&timed).last(), Some(&removed));
            assert!(sent(&effects(&timed)).len() >= 2);
            assert!(timed.last().unwrap().0 <= Time(1000).after_ms(600 + 3000));
        }
        assert!(scene.sessions.is_empty());
        assert_eq!(scene.sessions.next_deadline(), None);
    }
}

#[test]
fn a_session_without_a_peer_is_removed_at_once() {
    let mut scene = Scene::new(config(Role::Passive));
    let out = scene.input(Input::Remove { session: ID });
    assert_eq!(notes(&out), [Note::Removed { session: ID }]);
    assert_eq!(sent(&out), []);
    assert!(scene.sessions.is_empty());
}

#[test]
fn a_session_whose_peer_said_admin_down_itself_says_its_last_and_is_gone() {
    let mut scene = settled();
    scene.hear(State::AdminDown);
    assert_eq!(scene.session().state(), State::Down);
    let out = scene.input(Input::Remove { session: ID });
    assert_eq!(sent(&out).iter().map(|packet| packet.state).collect::<Vec<_>>(), [State::AdminDown]);
    assert!(notes(&out).contains(&Note::Removed { session: ID }));
    assert!(scene.sessions.is_empty());
}

/// Configuration goes at both ends within a moment: each discards what the other says, and neither is waited for.
#[test]
fn two_ends_that_leave_at_once_do_not_wait_for_each_other() {
    let mut scene = settled();
    let out = scene.input(Input::Remove { session: ID });
    assert_eq!(sent(&out).iter().map(|packet| packet.state).collect::<Vec<_>>(), [State::AdminDown]);
    assert!(scene.session().is_leaving());
    let mut out = scene.hear(State::AdminDown);
    out.extend(effects(&scene.pass(0)));
    assert!(notes(&out).contains(&Note::Removed { session: ID }));
    assert!(scene.sessions.is_empty());
}

#[test]
fn a_leaving_session_comes_back_or_makes_room() {
    let mut scene = settled();
    let discriminator = scene.session().discriminator();
    scene.input(Input::Remove { session: ID });
    let out = scene.input(Input::Configure { session: ID, config: config(Role::Active) });
    assert_eq!(changes(&out), [(State::AdminDown, State::Down, Diagnostic::ADMINISTRATIVELY_DOWN)]);
    assert_eq!(scene.session().discriminator(), discriminator);
    scene.input(Input::Remove { session: ID });
    let session = SessionId(8);
    let out = scene.input(Input::Configure { session, config: config(Role::Active) });
    assert!(notes(&out).contains(&Note::Removed { session: ID }));
    assert_eq!(scene.sessions.iter().map(|(id, _)| id).collect::<Vec<_>>(), [session]);
}

#[test]
fn another_path_is_another_session() {
    let mut scene = settled();
    let before = scene.session().discriminator();
    let base = config(Role::Active);
    let path = Path { peer: IpAddr::V4(Ipv4Addr::new(10, 1, 0, 33)), ..base.path };
    let out = scene.input(Input::Configure { session: ID, config: Config { path, ..base } });
    let to: Vec<_> = out
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { path, packet, .. } => Some((path.peer, packet.state)),
            Effect::StateChanged { .. } | Effect::Note(_) => None,
        })
        .collect();
    assert_eq!(to, [(A, State::AdminDown), (path.peer, State::Down)]);
    assert_ne!(scene.session().discriminator(), before);
    assert_eq!(scene.session().state(), State::Down);
    assert_eq!(scene.sessions.len(), 1);
}

#[test]
fn a_peer_that_restarts_is_believed_at_once() {
    let mut scene = settled();
    scene.says.my_discriminator = discriminator(0xa11ce);
    let out = scene.hear(State::Down);
    assert_eq!(changes(&out), [(State::Up, State::Down, Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN)]);
    assert_eq!(sent(&out)[0].your_discriminator, Some(scene.says.my_discriminator));
    scene.hear(State::Init);
    assert_eq!(scene.session().state(), State::Up);
    assert_eq!((scene.session().counters().ups, scene.session().counters().downs), (2, 1));
}

#[test]
fn recorded_inputs_and_saved_state_replay_the_same() {
    let mut scene = settled();
    let text = serde_json::to_string(&scene.sessions).unwrap();
    let mut copy: Sessions = serde_json::from_str(&text).unwrap();
    assert_eq!(copy, scene.sessions);
    let input = Input::Received(Arrival { content: decode(&[1, 2, 3]), ..scene.arrival(scene.says) });
    let again: Input = serde_json::from_str(&serde_json::to_string(&input).unwrap()).unwrap();
    assert_eq!(again, input);
    let out = scene.input(input);
    assert_eq!(handle(&mut copy, scene.now, vec![again]), out);
    let text = serde_json::to_string(&out).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Effect>>(&text).unwrap(), out);
}
