//! Command line and probes. The process as a whole is tested in `tests/`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use clap::Parser;
use pmon::{NpuInput, Target};
use schema::Slot;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::args::{Args, Role};
use crate::probe::{DatagramProbe, MidplaneProbe, ProbeError, ProbeKind, Prober};

fn parse(words: &[&str]) -> Result<Args, clap::Error> {
    Args::try_parse_from(std::iter::once("pmond").chain(words.iter().copied()))
}

#[test]
fn the_command_line_is_understood() {
    let args =
        parse(&["--role", "npu", "--midplane-probe", "udp:7777", "--probe-interval-ms", "100"]).unwrap();
    assert_eq!(args.role, Role::Npu);
    assert_eq!(args.midplane_probe, ProbeKind::Udp(7777));
    assert!(args.probe_timeout() < args.probe_interval());
    let args = parse(&["--role", "dpu", "--dpu-id", "3", "--boot-id", "life"]).unwrap();
    assert_eq!((args.dpu_id, args.boot_id.as_deref()), (Some(Slot(3)), Some("life")));
}

#[test]
fn wrong_use_is_refused() {
    let cases: [&[&str]; 9] = [
        &[],
        &["--role", "router"],
        &["--role", "dpu"],
        &["--role", "dpu", "--dpu-id", "256"],
        &["--role", "dpu", "--dpu-id", "1", "--boot-id", ""],
        &["--role", "npu", "--midplane-probe", "udp"],
        &["--role", "npu", "--midplane-probe", "udp:0"],
        &["--role", "npu", "--probe-interval-ms", "0"],
        &["--role", "npu", "--probe-fail-threshold", "0"],
    ];
    for words in cases {
        assert_eq!(parse(words).expect_err("refused").exit_code(), 2, "{words:?}");
    }
}

/// A DPU on the midplane: sends back what comes, as `change`d.
async fn responder(
    address: Ipv4Addr,
    port: u16,
    change: fn(&mut Vec<u8>),
) -> (u16, tokio::task::JoinHandle<()>) {
    let socket = UdpSocket::bind((address, port)).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 128];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let mut answer = buffer[..length].to_vec();
            change(&mut answer);
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    (port, task)
}

fn target(slot: u8, last: u8) -> Target {
    Target { slot: Slot(slot), address: Ipv4Addr::new(127, 88, 0, last) }
}

async fn answers(probe: &mut DatagramProbe, targets: &[Target], timeout: Duration) -> BTreeSet<Target> {
    let mut answered = BTreeSet::new();
    probe.round(targets, Instant::now() + timeout, |target| assert!(answered.insert(target))).await;
    answered
}

#[tokio::test]
async fn who_echoes_is_reachable_and_who_is_not_there_is_not() {
    let (port, _dpu0) = responder(target(0, 1).address, 0, |_| {}).await;
    let (_, _dpu2) = responder(target(2, 3).address, port, |_| {}).await;
    let mut probe = DatagramProbe::open(ProbeKind::Udp(port)).unwrap();
    let all = [target(0, 1), target(1, 2), target(2, 3)];
    for _ in 0..3 {
        let answered = answers(&mut probe, &all, Duration::from_millis(200)).await;
        assert_eq!(answered, BTreeSet::from([target(0, 1), target(2, 3)]));
    }
}

#[tokio::test]
async fn a_round_ends_as_soon_as_all_have_answered() {
    let (port, _dpu) = responder(target(0, 11).address, 0, |_| {}).await;
    let mut probe = DatagramProbe::open(ProbeKind::Udp(port)).unwrap();
    let long = Duration::from_secs(600);
    assert_eq!(answers(&mut probe, &[target(0, 11)], long).await.len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_not_the_echo_of_this_round_is_none() {
    let changes: [fn(&mut Vec<u8>); 4] = [
        |answer| answer.truncate(3),
        |answer| answer.push(0),
        |answer| answer[15] ^= 1,
        |answer| answer.clear(),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let target = target(0, 20 + u8::try_from(index).unwrap());
        let (port, _dpu) = responder(target.address, 0, change).await;
        let mut probe = DatagramProbe::open(ProbeKind::Udp(port)).unwrap();
        let answered = answers(&mut probe, &[target], Duration::from_millis(100)).await;
        assert_eq!(answered, BTreeSet::new(), "change {index}");
    }
}

#[tokio::test]
async fn icmp_probes_the_loopback_or_says_what_to_do() {
    let loopback = Target { slot: Slot(0), address: Ipv4Addr::LOCALHOST };
    match DatagramProbe::open(ProbeKind::Icmp) {
        Ok(mut probe) => {
            let answered = answers(&mut probe, &[loopback], Duration::from_secs(60)).await;
            assert_eq!(answered, BTreeSet::from([loopback]));
        }
        Err(error @ ProbeError::IcmpForbidden(_)) => {
            assert!(error.to_string().contains("net.ipv4.ping_group_range"));
        }
        Err(error @ ProbeError::Socket { .. }) => panic!("{error}"),
    }
}

/// Answers for slot 0 only, at once.
struct OnlySlot0;

impl MidplaneProbe for OnlySlot0 {
    async fn round(
        &mut self,
        targets: &[Target],
        _deadline: Instant,
        mut answered: impl FnMut(Target) + Send,
    ) {
        targets.iter().filter(|target| target.slot == Slot(0)).for_each(|target| answered(*target));
    }
}

#[tokio::test]
async fn the_prober_follows_its_targets_and_reports_answers_and_losses() {
    let (targets, receiver) = watch::channel(Vec::new());
    let (results, mut inputs) = mpsc::channel(1);
    let short = Duration::from_millis(10);
    let prober = Prober { probe: OnlySlot0, interval: short, timeout: short / 2, targets: receiver };
    let task = tokio::spawn(prober.run(results));
    let (there, not_there) = (target(0, 1), target(1, 2));
    targets.send_replace(vec![there, not_there]);
    for _ in 0..2 {
        assert_eq!(inputs.recv().await, Some(NpuInput::Probe { target: there, reachable: true }));
        assert_eq!(inputs.recv().await, Some(NpuInput::Probe { target: not_there, reachable: false }));
    }
    drop(targets);
    drop(inputs);
    task.await.unwrap();
}
