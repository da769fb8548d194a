//! Addresses.

use crate::zmq::{ZmqAddress, ZmqAddressError};

/// What kind of error.
type Kind = fn(String) -> ZmqAddressError;

#[test]
fn addresses_are_read_as_sonic_writes_them() {
    let good = [
        ("tcp://127.0.0.1:8100", "tcp://127.0.0.1:8100"),
        ("tcp://eth0-midplane", "tcp://eth0-midplane:8100"),
        ("tcp://*:9000", "tcp://*:9000"),
        ("tcp://[fe80::1]", "tcp://[fe80::1]:8100"),
        ("tcp://[::1]:1", "tcp://[::1]:1"),
        ("ipc:///run/zmq", "ipc:///run/zmq"),
    ];
    for (text, read) in good {
        assert_eq!(text.parse::<ZmqAddress>().map(|address| address.to_string()).as_deref(), Ok(read));
    }
    let bad: &[(&str, Kind)] = &[
        ("127.0.0.1:8100", ZmqAddressError::Transport),
        ("udp://127.0.0.1:8100", ZmqAddressError::Transport),
        ("tcp://", ZmqAddressError::Empty),
        ("tcp://:8100", ZmqAddressError::Empty),
        ("ipc://", ZmqAddressError::Empty),
        ("tcp://a:0", ZmqAddressError::Port),
        ("tcp://a:65536", ZmqAddressError::Port),
        ("tcp://a:", ZmqAddressError::Port),
        ("tcp://[::1]8100", ZmqAddressError::Port),
        ("tcp://fe80::1", ZmqAddressError::Brackets),
        ("tcp://[fe80::1", ZmqAddressError::Brackets),
    ];
    for (text, error) in bad {
        assert_eq!(text.parse::<ZmqAddress>(), Err(error((*text).to_owned())));
    }
}
