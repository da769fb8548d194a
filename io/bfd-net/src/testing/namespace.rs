//! Network namespaces.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use netns::Namespace;

/// One with a name that nobody else uses.
fn create() -> io::Result<Namespace> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    Namespace::create(format!("bfd-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// Two hosts, one hop and, over a router, two hops apart.
///
/// ```text
///   here ─────────── direct: 10.1.0.1, fd01::1 ── 10.1.0.2, fd01::2 ─────────── there
///   lo 10.9.0.N, fd09::N ── 10.2.0.0/30 ── router ── 10.3.0.0/30 ── lo 10.9.1.N, fd09:1::N
/// ```
#[derive(Debug)]
pub struct Net {
    /// Where ours runs.
    pub here: Namespace,
    /// Where FRR runs.
    pub there: Namespace,
    /// In between.
    pub router: Namespace,
}

impl Net {
    /// With `loopbacks` addresses of each family on either host, numbered from 1.
    ///
    /// # Errors
    /// As [`Namespace::create`].
    pub fn create(loopbacks: u8) -> io::Result<Self> {
        let net = Self { here: create()?, there: create()?, router: create()? };
        let Self { here, there, router } = &net;
        here.ip(&format!("link add direct type veth peer name direct netns {}", there.name()))?;
        here.ip(&format!("link add routed type veth peer name here netns {}", router.name()))?;
        there.ip(&format!("link add routed type veth peer name there netns {}", router.name()))?;
        router.sysctl(&[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")])?;
        let addresses = |namespace: &Namespace, host: u8| -> io::Result<()> {
            namespace.ip(&format!("addr add 10.1.0.{host}/24 dev direct"))?;
            namespace.ip(&format!("addr add fd01::{host}/64 dev direct nodad"))?;
            namespace.ip(&format!("addr add 10.{}.0.1/30 dev routed", host + 1))?;
            namespace.ip(&format!("addr add fd0{}::1/64 dev routed nodad", host + 1))?;
            let own = host - 1;
            for n in 1..=loopbacks {
                namespace.ip(&format!("addr add 10.9.{own}.{n}/32 dev lo"))?;
                namespace.ip(&format!("addr add fd09:{own}::{n}/128 dev lo nodad"))?;
            }
            namespace.ip("link set direct up")?;
            namespace.ip("link set routed up")?;
            namespace.ip(&format!("route add 10.9.0.0/16 via 10.{}.0.2", host + 1))?;
            namespace.ip(&format!("-6 route add fd09::/16 via fd0{}::2", host + 1))?;
            Ok(())
        };
        for (link, host) in [("here", 1_u8), ("there", 2)] {
            router.ip(&format!("addr add 10.{}.0.2/30 dev {link}", host + 1))?;
            router.ip(&format!("addr add fd0{}::2/64 dev {link} nodad", host + 1))?;
            router.ip(&format!("link set {link} up"))?;
            router.ip(&format!("route add 10.9.{}.0/24 via 10.{}.0.1", host - 1, host + 1))?;
            router.ip(&format!("-6 route add fd09:{}::/32 via fd0{}::1", host - 1, host + 1))?;
        }
        addresses(here, 1)?;
        addresses(there, 2)?;
        Ok(net)
    }
}
