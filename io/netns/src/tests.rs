//! In real namespaces; skipped loudly where none can be made.

#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};

use super::*;

fn create(purpose: &str) -> Option<Namespace> {
    match Namespace::create(format!("netns-{}-{purpose}", std::process::id())) {
        Ok(namespace) => Some(namespace),
        Err(why) => {
            // The harness shows only what is written past it.
            io::stderr().write_all(format!("\nSKIPPED netns {purpose}: {why}\n").as_bytes()).unwrap();
            None
        }
    }
}

#[test]
fn a_socket_stays_in_the_namespace_in_which_it_was_opened() {
    let Some(namespace) = create("socket") else { return };
    namespace.ip_batch("addr add 10.99.0.1/32 dev lo\naddr add 10.99.0.2/32 dev lo").unwrap();
    let open = |host| UdpSocket::bind((Ipv4Addr::new(10, 99, 0, host), 0));
    assert!(open(1).is_err(), "the address is not ours here");
    let (one, other) = namespace.enter(|| (open(1).unwrap(), open(2).unwrap())).unwrap();
    one.send_to(b"hello", other.local_addr().unwrap()).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(other.recv_from(&mut buffer).unwrap(), (5, one.local_addr().unwrap()));
}

#[test]
fn a_refusal_says_what_was_refused() {
    let Some(namespace) = create("refusal") else { return };
    let error = namespace.ip("addr add 10.99.0.1/32 dev nowhere").unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
    let error = namespace.ip_batch("link set lo up\nlink set nowhere up").unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
    let error = namespace.sysctl(&[("ipv4/no_such_parameter", "1")]).unwrap_err().to_string();
    assert!(error.contains("no_such_parameter"), "{error}");
    let error = namespace.nft("add rule inet nowhere forward drop").unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
    let error = Namespace::create(namespace.name()).unwrap_err().to_string();
    assert!(error.contains(namespace.name()), "{error}");
}

#[test]
fn a_dropped_namespace_is_gone_and_a_lost_one_can_be_removed_with_its_processes() {
    let Some(namespace) = create("lost") else { return };
    let name = namespace.name().to_owned();
    let mut child = namespace.command("sleep").arg("1000").spawn().unwrap();
    let is_inside =
        || run(Command::new("ip").args(["netns", "pids", &name])).unwrap() == child.id().to_string();
    while !is_inside() {
        std::thread::yield_now();
    }
    assert!(names().unwrap().contains(&name));
    remove(&name).unwrap();
    assert!(!names().unwrap().contains(&name));
    assert!(!child.wait().unwrap().success());
    // Its owner does not know.
    std::mem::forget(namespace);

    let Some(namespace) = create("dropped") else { return };
    let name = namespace.name().to_owned();
    drop(namespace);
    assert!(!names().unwrap().contains(&name));
}
