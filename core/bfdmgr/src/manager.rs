//! The core.

use std::collections::{BTreeMap, BTreeSet};

use reconcile::{Batch, Core, Plan, Reconciler, Time, as_pairs};
use schema::dpu_appl_db::BfdKey;
use schema::dpu_state_db::{BfdProbeState, DashHa};
use schema::state_db::BfdSoftwareSession;
use schema::{Table, WallMs};
use serde::{Deserialize, Serialize};

use crate::io::{Effect, Input, Note, Peer, Place};
use crate::probe::Probe;
use crate::session::{Backend, Session, Sessions};

/// The manager of a DPU's software BFD sessions. See the crate's documentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BfdMgr {
    backend: Backend,
    #[serde(with = "as_pairs")]
    rows: BTreeMap<BfdKey, BfdSoftwareSession>,
    /// The table was read once: before that, what is missing means nothing.
    is_synced: bool,
    /// What the backend was last told; `None`: nothing yet.
    told: Option<Vec<(BfdKey, Session)>>,
    /// What it was told to run no longer, until it speaks next.
    withdrawn: BTreeSet<BfdKey>,
    /// The sessions of the backend that may draw traffic, as far as it has said; `None`: nothing yet.
    running: Option<BTreeSet<BfdKey>>,
    /// What `core/haorch` was last told.
    open: Option<BTreeSet<BfdKey>>,
    probe: Probe,
    stores: Reconciler<Place>,
}

impl Core for BfdMgr {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, _now: Time, batch: Batch<Input>, out: &mut Vec<Effect>) {
        for input in batch.inputs {
            self.take(batch.wall, input, out);
        }
        self.want(out);
        self.tell_open(out);
        self.write(out);
    }

    /// Nothing waits for time: the backend repeats what failed.
    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        None
    }
}

impl BfdMgr {
    /// Knows nothing yet, and so asks for nothing yet.
    pub fn new(backend: Backend) -> Self {
        Self {
            backend,
            rows: BTreeMap::new(),
            is_synced: false,
            told: None,
            withdrawn: BTreeSet::new(),
            running: None,
            open: None,
            probe: Probe::default(),
            stores: Reconciler::new(),
        }
    }

    fn take(&mut self, wall: WallMs, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Session(key, Some(row)) => {
                let is_new = self.rows.get(&key) != Some(&row);
                if is_new && let Err(why) = Session::of(self.backend, &key, &row) {
                    out.push(Effect::Note(Note::Unusable { key: key.clone(), why }));
                }
                self.rows.insert(key, row);
            }
            Input::Session(key, None) => {
                self.rows.remove(&key);
            }
            // Whoever reads the rows has said so; the last good one stays.
            Input::Refused(_) => {}
            Input::Synced => self.is_synced = true,
            Input::Backend(peers) => self.take_peers(wall, &peers, out),
            Input::Store(event) => {
                self.stores.observe(event);
                if let Some(row) = self.stores.row::<BfdProbeState>(Place::Remote, &DashHa) {
                    self.probe.read_back(&row);
                }
            }
        }
    }

    fn take_peers(&mut self, wall: WallMs, peers: &[Peer], out: &mut Vec<Effect>) {
        out.extend(self.probe.set(peers, wall).map(Effect::Note));
        if let Some(row) = self.stores.row::<BfdProbeState>(Place::Remote, &DashHa) {
            self.probe.read_back(&row);
        }
        self.withdrawn.clear();
        self.running = Some(peers.iter().filter(|peer| peer.is_open).map(|peer| peer.key.clone()).collect());
    }

    fn want(&mut self, out: &mut Vec<Effect>) {
        if !self.is_synced {
            return;
        }
        let usable = |(key, row): (&BfdKey, &BfdSoftwareSession)| {
            Session::of(self.backend, key, row).ok().map(|session| (key.clone(), session))
        };
        let wanted: Vec<(BfdKey, Session)> = self.rows.iter().filter_map(usable).collect();
        if self.told.as_ref() != Some(&wanted) {
            out.push(Effect::Want(wanted.clone()));
            let before = self.told.replace(wanted).unwrap_or_default();
            self.withdrawn.extend(before.into_iter().map(|(key, _)| key));
        }
    }

    /// A session counts from when it is asked for until the backend says that it has it no longer: what is down for a moment
    /// may be up before it is heard of.
    fn tell_open(&mut self, out: &mut Vec<Effect>) {
        let Some(running) = &self.running else { return };
        let told = self.told.iter().flatten().filter(|(_, session)| !session.shutdown).map(|(key, _)| key);
        let open: BTreeSet<BfdKey> = told.chain(&self.withdrawn).chain(running).cloned().collect();
        if self.open.as_ref() != Some(&open) {
            out.push(Effect::Open(open.clone()));
            self.open = Some(open);
        }
    }

    fn write(&mut self, out: &mut Vec<Effect>) {
        let mut plan = Plan::new();
        self.probe.plan(&mut plan);
        let mut writes = Vec::new();
        // Rows with another key are somebody else's; ours is never removed.
        self.stores.diff(&plan, |_: Table| 0, |_, _| true, &mut writes);
        out.extend(writes.into_iter().map(Effect::Write));
    }

    /// The sessions that the backend was last told to run.
    pub fn wanted(&self) -> Sessions {
        self.told.iter().flatten().cloned().collect()
    }
}
