//! What operators and networks do to a session, seen from both ends.

use std::num::NonZeroU8;

use bfd::{Diagnostic, Interval, Role, State};
use bfd_net::Spec;
use bfd_net::testing::{Bfdd, Capture, Net, wait_until};

use crate::ours::{MULTIPLIER, Ours, add, four, on_net, shown, spec, tell, wait_up};

#[test]
fn ours_waits_and_frr_speaks_first() {
    on_net("ours passive, FRR active", 1, |net| all(net, Role::Passive, Role::Active));
}

#[test]
fn ours_speaks_first_and_frr_waits() {
    on_net("ours active, FRR passive", 1, |net| all(net, Role::Active, Role::Passive));
}

/// The whole life of four sessions at once: single-hop and multihop, IPv4 and IPv6.
fn all(net: &Net, our_role: Role, frrs_role: Role) {
    let pairs = four();
    let capture = Capture::start(&net.here, &["direct", "routed"]).unwrap();
    let mut bfdd = Bfdd::start(&net.there).unwrap();
    add(&bfdd, &pairs, frrs_role);
    let ours = Ours::start(1);
    ours.want(&pairs, spec(our_role));
    wait_up(&ours, &bfdd, &pairs);
    for pair in &pairs {
        let view = ours.view(pair);
        let remote = view.remote.expect("it is up");
        assert_eq!(remote.detect_multiplier.get(), MULTIPLIER);
        assert_eq!(view.counters.ups, 1, "{pair:?}: it came up and stayed up");
    }

    timers_change_under_poll(&ours, &bfdd, our_role);
    held_down_by_either_side(&ours, &bfdd, our_role);

    // FRR is killed: ours notices by itself, and comes back with the next one.
    bfdd.kill().unwrap();
    wait_until("ours notice", || ours.are(&pairs, State::Down)).unwrap();
    let diagnostic = ours.view(&pairs[0]).diagnostic;
    assert_eq!(diagnostic, Diagnostic::CONTROL_DETECTION_TIME_EXPIRED);
    bfdd.start_again(&net.there).unwrap();
    add(&bfdd, &pairs, frrs_role);
    wait_up(&ours, &bfdd, &pairs);

    // Ours is killed, and starts again with other discriminators while FRR still is up.
    ours.kill();
    let ours = Ours::start(2);
    ours.want(&pairs, spec(our_role));
    wait_up(&ours, &bfdd, &pairs);

    // The farewell is answered, and FRR says why it is down.
    assert_eq!(ours.close(), 0, "FRR answers the farewell");
    for pair in &pairs {
        let peer = shown(&bfdd, pair);
        assert_eq!(peer["status"], "down", "{peer}");
        assert_eq!(peer["remote-diagnostic"], "administratively down", "{peer}");
    }

    let (packets, complaints) = capture.judge().unwrap();
    assert!(packets > 100, "only {packets} packets were captured");
    assert_eq!(complaints, Vec::<String>::new(), "of {packets} packets");
}

fn timers_change_under_poll(ours: &Ours, bfdd: &Bfdd, our_role: Role) {
    let pairs = four();
    let other = Interval::from_ms(300).unwrap();
    let multiplier = NonZeroU8::new(30).unwrap();
    let slower = Spec {
        desired_min_tx: other,
        required_min_rx: other,
        detect_multiplier: multiplier,
        ..spec(our_role)
    };
    ours.want(&pairs, slower);
    wait_until("FRR has our timers", || {
        pairs.iter().all(|pair| {
            let peer = shown(bfdd, pair);
            peer["remote-transmit-interval"] == 300
                && peer["remote-receive-interval"] == 300
                && peer["remote-detect-multiplier"] == 30
        })
    })
    .unwrap();
    wait_until("our poll is answered", || pairs.iter().all(|pair| !ours.view(pair).is_polling)).unwrap();
    for pair in &pairs {
        tell(bfdd, pair, &["transmit-interval 250", "receive-interval 250", "detect-multiplier 25"]);
    }
    wait_until("we have FRR's timers", || {
        pairs.iter().all(|pair| {
            ours.view(pair).remote.is_some_and(|remote| {
                (remote.desired_min_tx_us, remote.min_rx_us) == (250_000, 250_000)
                    && remote.detect_multiplier.get() == 25
            })
        })
    })
    .unwrap();
    for pair in &pairs {
        let view = ours.view(pair);
        assert_eq!(view.timing.transmit_us, Some(300_000), "the slower of the two");
        assert_eq!(view.timing.detection_us, Some(25 * 300_000), "theirs, times the slower of the two");
        assert_eq!(view.counters.downs, 0, "{pair:?}: no timer change took it down");
    }
    ours.want(&pairs, spec(our_role));
}

fn held_down_by_either_side(ours: &Ours, bfdd: &Bfdd, our_role: Role) {
    let pairs = four();
    for pair in &pairs {
        tell(bfdd, pair, &["shutdown"]);
    }
    wait_until("ours hear it", || ours.are(&pairs, State::Down)).unwrap();
    let remote = ours.view(&pairs[0]).remote;
    // FRR 8.4 says AdminDown without a diagnostic, and may then fall silent.
    assert!(remote.is_none_or(|remote| remote.state == State::AdminDown), "{remote:?}");
    for pair in &pairs {
        tell(bfdd, pair, &["no shutdown"]);
    }
    wait_up(ours, bfdd, &pairs);

    let held = Spec { held_down: Some(Diagnostic::ADMINISTRATIVELY_DOWN), ..spec(our_role) };
    ours.want(&pairs, held);
    wait_until("FRR hears it", || pairs.iter().all(|pair| shown(bfdd, pair)["status"] == "down")).unwrap();
    assert_eq!(shown(bfdd, &pairs[0])["remote-diagnostic"], "administratively down");
    ours.want(&pairs, spec(our_role));
    wait_up(ours, bfdd, &pairs);
}
