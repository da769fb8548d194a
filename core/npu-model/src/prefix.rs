//! Prefixes as orchagent reads and writes them.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Prefix {
    /// An address of it.
    pub address: IpAddr,
    /// How many bits count.
    pub length: u8,
}

impl Prefix {
    /// Reads `10.3.0.1`, which is itself only, or `10.3.0.0/24`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let length_max = bits(address);
        let length = length.map_or(Some(length_max), |length| length.parse().ok())?;
        (length <= length_max).then_some(Self { address, length })
    }

    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let ignored = u32::from(bits(self.address).saturating_sub(self.length));
        let cut = |address: IpAddr| number(address).checked_shr(ignored).unwrap_or(0);
        self.address.is_ipv4() == address.is_ipv4() && cut(self.address) == cut(address)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}
