//! Network namespaces.

use std::fs::File;
use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

use super::run;

/// A network namespace of our own; removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one, with a name that nobody else uses and its loopback interface up.
    ///
    /// # Errors
    /// It takes root, the kernel's support and `iproute2`; the error says what is missing.
    pub fn create() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bfd-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `ip` in the namespace, with words parted by blanks.
    ///
    /// # Errors
    /// `ip` refuses; the error holds what it said.
    pub fn ip(&self, words: &str) -> io::Result<String> {
        run(Command::new("ip").args(["-n", &self.name]).args(words.split(' ')))
    }

    /// A program that is to run in the namespace. It becomes the process itself, so killing that kills it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Does something on a thread of its own in the namespace; threads that it starts are there as well.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    ///
    /// # Panics
    /// If the thread panics, as a test does that fails.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> io::Result<T> {
        let file = File::open(format!("/run/netns/{}", self.name))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET)?;
                Ok(act())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("ip").args(["netns", "del", &self.name])) {
            tracing::warn!(%error, "a network namespace is left behind");
        }
    }
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
        let net =
            Self { here: Namespace::create()?, there: Namespace::create()?, router: Namespace::create()? };
        let Self { here, there, router } = &net;
        here.ip(&format!("link add direct type veth peer name direct netns {}", there.name))?;
        here.ip(&format!("link add routed type veth peer name here netns {}", router.name))?;
        there.ip(&format!("link add routed type veth peer name there netns {}", router.name))?;
        for forwarding in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            let write = format!("echo 1 > /proc/sys/net/{forwarding}");
            run(router.command("sh").args(["-c", &write]))?;
        }
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
