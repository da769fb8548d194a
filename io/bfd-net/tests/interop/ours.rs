//! Our side: a server in the namespace `here`, asked and told by a test that may block.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use bfd::{Hops, Interval, Link, Path, Role, State};
use bfd_net::testing::{Bfdd, Net, skip, wait_until};
use bfd_net::{Bind, Events, Server, ServerConfig, Snapshot, Spec, View, Wanted};
use tokio::runtime::Runtime;

/// A session of the test, from both ends.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    pub ours: IpAddr,
    pub frrs: IpAddr,
    pub hops: Hops,
}

impl Pair {
    pub fn path(&self) -> Path {
        Path { peer: self.frrs, local: self.ours, link: Link::ANY, hops: self.hops }
    }

    /// FRR's name for it.
    pub fn peer(&self) -> String {
        let Self { ours, frrs, hops } = self;
        match hops {
            Hops::Single => format!("peer {ours} local-address {frrs} vrf default"),
            Hops::Multi => format!("peer {ours} multihop local-address {frrs} vrf default"),
        }
    }
}

/// Single-hop and multihop, IPv4 and IPv6.
pub fn four() -> [Pair; 4] {
    let pair = |ours: &str, frrs: &str, hops| Pair {
        ours: ours.parse().unwrap(),
        frrs: frrs.parse().unwrap(),
        hops,
    };
    [
        pair("10.1.0.1", "10.1.0.2", Hops::Single),
        pair("fd01::1", "fd01::2", Hops::Single),
        pair("10.9.0.1", "10.9.1.1", Hops::Multi),
        pair("fd09:0::1", "fd09:1::1", Hops::Multi),
    ]
}

/// Timers that a loaded machine can keep.
pub const INTERVAL_MS: u32 = 200;
pub const MULTIPLIER: u8 = 20;

pub fn spec(role: Role) -> Spec {
    let interval = Interval::from_ms(INTERVAL_MS).unwrap();
    Spec {
        role,
        desired_min_tx: interval,
        required_min_rx: interval,
        detect_multiplier: NonZeroU8::new(MULTIPLIER).unwrap(),
        min_ttl: 254,
        held_down: None,
    }
}

/// A server in a runtime of its own.
pub struct Ours {
    runtime: Runtime,
    server: Option<Server>,
    _events: Events,
}

impl Ours {
    /// In the namespace of the calling thread.
    pub fn start(seed: u64) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (server, events) =
            runtime.block_on(async { Server::start(ServerConfig { bind: Bind::PerAddress, seed }) }).unwrap();
        Self { runtime, server: Some(server), _events: events }
    }

    pub fn want(&self, pairs: &[Pair], spec: Spec) {
        let server = self.server.as_ref().unwrap();
        let generation = server.want(pairs.iter().map(|pair| (pair.path(), spec)).collect::<Wanted>());
        self.runtime.block_on(server.applied(generation));
    }

    pub fn snapshot(&self) -> Snapshot {
        self.runtime.block_on(self.server.as_ref().unwrap().snapshot())
    }

    pub fn view(&self, pair: &Pair) -> View {
        self.snapshot().sessions.remove(&pair.path()).expect("the session is there")
    }

    pub fn are(&self, pairs: &[Pair], state: State) -> bool {
        let snapshot = self.snapshot();
        pairs.iter().all(|pair| snapshot.sessions.get(&pair.path()).is_some_and(|view| view.state == state))
    }

    /// Ends without a word, as a process that is killed.
    pub fn kill(mut self) {
        drop(self.server.take());
    }

    /// Ends with a farewell; how many peers did not answer it.
    pub fn close(mut self) -> usize {
        let server = self.server.take().unwrap();
        self.runtime.block_on(server.close(Duration::from_secs(30)))
    }
}

/// Adds sessions to `bfdd`.
pub fn add(bfdd: &Bfdd, pairs: &[Pair], role: Role) {
    let interval = [format!("receive-interval {INTERVAL_MS}"), format!("transmit-interval {INTERVAL_MS}")];
    let multiplier = format!("detect-multiplier {MULTIPLIER}");
    let mut words = vec!["conf t".to_owned(), "bfd".to_owned()];
    for pair in pairs {
        words.push(pair.peer());
        words.extend([multiplier.clone(), interval[0].clone(), interval[1].clone()]);
        if pair.hops == Hops::Multi {
            words.push("minimum-ttl 254".to_owned());
        }
        words.push(match role {
            Role::Passive => "passive-mode".to_owned(),
            Role::Active => "no passive-mode".to_owned(),
        });
        words.push("exit".to_owned());
    }
    say(bfdd, &words);
}

/// Says words to `bfdd` about one session.
pub fn tell(bfdd: &Bfdd, pair: &Pair, words: &[&str]) {
    let mut all = vec!["conf t".to_owned(), "bfd".to_owned(), pair.peer()];
    all.extend(words.iter().map(|words| (*words).to_owned()));
    say(bfdd, &all);
}

fn say(bfdd: &Bfdd, words: &[String]) {
    bfdd.vtysh(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
}

/// What `bfdd` shows of the session.
pub fn shown(bfdd: &Bfdd, pair: &Pair) -> serde_json::Value {
    let all = bfdd.vtysh(&["show bfd peers json"]).unwrap();
    let all: Vec<serde_json::Value> = serde_json::from_str(&all).unwrap();
    let is_it = |value: &&serde_json::Value| value["peer"].as_str().map(str::parse) == Some(Ok(pair.ours));
    all.iter().find(is_it).cloned().unwrap_or_default()
}

/// Both ends of all sessions are up.
pub fn wait_up(ours: &Ours, bfdd: &Bfdd, pairs: &[Pair]) {
    wait_until("ours are up", || ours.are(pairs, State::Up)).unwrap();
    wait_until("FRR's are up", || pairs.iter().all(|pair| shown(bfdd, pair)["status"] == "up")).unwrap();
}

/// Runs a test on a network of its own, on a thread in the namespace `here`; skips loudly where none can be made.
pub fn on_net(test: &str, loopbacks: u8, act: impl FnOnce(&Net) + Send) {
    let net: io::Result<Net> = Net::create(loopbacks);
    match net {
        Ok(net) => net.here.enter(|| act(&net)).unwrap(),
        Err(why) => skip(test, &why),
    }
}
