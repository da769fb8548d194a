//! The simulator can fail: every known mistake is caught, by the promise that it breaks. Which seeds catch it is in
//! `docs/found-by-simulation.md`.

use sim::faults::{Fault, Kind, MOST};
use sim::mutants::Mutant;
use sim::rng::{MS, S};
use sim::run::{Setup, run};
use sim::topology::{DpuRef, Proc, Server, Topology};
use sim::trace::Trace;

const DPU0: DpuRef = DpuRef { switch: 0, slot: 0 };

fn is_caught(setup: &Setup) -> bool {
    let failure = run(setup, Trace::off()).failure;
    failure.zip(setup.mutant).is_some_and(|(failure, mutant)| failure.invariants.contains(&mutant.breaks()))
}

/// By one of the first seeds, whatever it draws.
fn assert_is_caught(mutant: Mutant) {
    let of = |seed| Setup { mutant: Some(mutant), ..Setup::of(seed, Topology::PAIR, MOST) };
    assert!((0..150).any(|seed| is_caught(&of(seed))), "no seed catches {mutant}");
}

/// By a schedule that aims at it: the seeds draw what it takes too seldom for a test.
fn assert_is_caught_by(mutant: Mutant, faults: &[Fault]) {
    let of = |seed| {
        let setup = Setup::of(seed, Topology::PAIR, MOST);
        Setup { mutant: Some(mutant), faults: faults.to_vec(), ..setup }
    };
    assert!((0..20).any(|seed| is_caught(&of(seed))), "the schedule does not catch {mutant}");
}

#[test]
fn a_hamgrd_that_does_not_notice_a_flush_is_caught() {
    assert_is_caught(Mutant::FlushUnnoticed);
}

#[test]
fn a_hamgrd_that_writes_a_scope_before_its_set_is_caught() {
    assert_is_caught(Mutant::ScopeBeforeSet);
}

#[test]
fn a_hamgrd_that_replays_an_approval_is_caught() {
    assert_is_caught(Mutant::ApprovalReplayed);
}

#[test]
fn a_hamgrd_that_creates_bfd_sessions_once_is_caught() {
    assert_is_caught(Mutant::BfdCreatedOnce);
}

#[test]
fn a_hamgrd_that_takes_unknown_for_down_is_caught() {
    // The reader of CHASSIS_STATE_DB is the third connection.
    let cut = Fault { at: 12 * S, kind: Kind::Cut(Proc::Hamgrd(1), 2) };
    assert_is_caught_by(Mutant::UnknownIsDown, &[cut]);
}

#[test]
fn a_controller_that_takes_unknown_for_down_is_caught() {
    // It comes back with its data: nothing happened but that nobody could read.
    let away = Fault { at: 20 * S, kind: Kind::RedisRestart(Server::Chassis(1), 800 * MS, true) };
    assert_is_caught_by(Mutant::UnknownIsDownToTheController, &[away]);
}

#[test]
fn a_hamgrd_that_ignores_the_fence_is_caught() {
    assert_is_caught(Mutant::FenceIgnored);
}

#[test]
fn a_hamgrd_that_does_not_read_after_a_gap_is_caught() {
    assert_is_caught(Mutant::GapUnread);
}

#[test]
fn a_controller_that_forgets_its_epoch_is_caught() {
    assert_is_caught(Mutant::EpochForgotten);
}

#[test]
fn a_controller_that_tells_both_to_be_active_is_caught() {
    assert_is_caught(Mutant::BothActive);
}

#[test]
fn a_controller_that_approves_blindly_is_caught() {
    let partition = Fault { at: 12 * S, kind: Kind::Partition(DPU0, 8 * S) };
    let restart = Fault { at: 12 * S + 850 * MS, kind: Kind::Restart(DPU0, 240 * MS) };
    assert_is_caught_by(Mutant::ApprovedBlindly, &[partition, restart]);
}

#[test]
fn a_haorchd_that_leaves_bfd_sessions_behind_is_caught() {
    assert_is_caught(Mutant::BfdOutlivesService);
}

#[test]
fn a_haorchd_that_ends_a_role_before_its_sessions_is_caught() {
    assert_is_caught(Mutant::RoleBeforeBfd);
}

#[test]
fn a_pmond_that_writes_at_rest_is_caught() {
    assert_is_caught(Mutant::RestlessProbe);
}

#[test]
fn a_producer_that_does_not_send_again_after_a_handshake_is_caught() {
    assert_is_caught(Mutant::ResendSuppressed);
}

#[test]
fn a_producer_that_replays_what_is_said_once_is_caught() {
    // The link breaks long after the approval was acted on.
    let breaks = Fault { at: 16 * S, kind: Kind::LinkBreaks(DPU0, 0) };
    assert_is_caught_by(Mutant::OneShotReplayed, &[breaks]);
}

#[test]
fn a_bfd_backend_that_never_ends_a_session_is_caught() {
    assert_is_caught(Mutant::BfdNeverEnds);
}

#[test]
fn a_haorchd_that_does_not_wait_for_bfd_peers_is_caught() {
    assert_is_caught(Mutant::BfdFarewellUnheard);
}

#[test]
fn a_controller_that_tears_down_the_peer_too_is_caught() {
    assert_is_caught(Mutant::PeerTornDown);
}

#[test]
fn a_hamgrd_that_loses_approvals_is_caught() {
    assert_is_caught(Mutant::ApprovalLost);
}

#[test]
fn a_bfd_that_ignores_authentication_is_caught() {
    let noise = Fault { at: 12 * S, kind: Kind::Noise(DPU0, 6 * S) };
    assert_is_caught_by(Mutant::BfdAuthIgnored, &[noise]);
}
