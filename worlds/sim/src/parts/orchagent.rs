//! The switch's orchagent: `core/npu-model`, whose active BFD sessions are in [`crate::world`].

use std::net::IpAddr;
use std::num::NonZeroU8;

use bfd::{Hops, Interval, Link, Path, Role, Spec, State, Wanted};
use npu_model::{Effect, Here, Input, NextHopRule, NpuConfig, NpuModel, Session};
use reconcile::{Batch, Core, StoreEvent, StoreUpdate, Time};
use schema::appl_db::{NeighResolve, VnetRouteTunnel};
use schema::{BfdState, Db, PinnedState, Table, WallMs};

use super::{Extra, Out, Part, PortSpec, Start, or_last_good};
use crate::checks::next_hops::Witness;
use crate::client::Update;
use crate::redis::Mode;
use crate::topology::{Server, Topology};

/// The least TTL of a packet over many hops: any.
const MIN_TTL: u8 = 1;

/// The process.
pub struct OrchagentPart {
    switch: u8,
    core: NpuModel,
    rule: NextHopRule,
    pin: Option<(usize, PinnedState)>,
    is_synced: bool,
    witness: Witness,
    queue: Vec<Input>,
}

impl OrchagentPart {
    /// Of a switch.
    pub fn new(switch: u8, start: &Start) -> Self {
        let rule = start.rule;
        let npu = Topology::npu(switch);
        let tunnel_source_v6 = start.dual_stack.then(|| Topology::v6(npu));
        let config = NpuConfig { rule, tunnel_source_v4: Some(npu), tunnel_source_v6 };
        Self {
            switch,
            core: NpuModel::new(config),
            rule,
            pin: start.pin,
            is_synced: false,
            witness: Witness::default(),
            queue: Vec::new(),
        }
    }

    /// The witness is told what the core is.
    fn bear_witness(&mut self) {
        for input in &self.queue {
            match input {
                Input::Route(key, row) => self.witness.route(key, row.as_ref()),
                Input::Bfd { peer, state, discriminator: _ } => self.witness.session(*peer, *state),
                Input::Synced => self.is_synced = true,
                Input::Neighbour(..) | Input::Unsynced | Input::Store(_) => {}
            }
        }
    }
}

impl Part for OrchagentPart {
    fn ports(&self) -> Vec<PortSpec> {
        let host = Server::Host(self.switch);
        let rows = vec![(Table::NpuBfdSession, Mode::Table), (Table::VnetRouteTunnelState, Mode::Table)];
        vec![
            PortSpec::Consume(host, Db::ApplDb, vec![Table::VnetRouteTunnel, Table::NeighResolve]),
            PortSpec::Store(host, Db::StateDb, rows),
        ]
    }

    fn update(&mut self, _port: usize, update: Update) {
        match update {
            Update::Changes(changes) => self.queue.extend(changes.iter().filter_map(|change| {
                if change.table == Table::VnetRouteTunnel {
                    let route = or_last_good::<VnetRouteTunnel>(change);
                    route.map(|(key, row)| Input::Route(key, row.map(|row| pinned(row, self.pin))))
                } else {
                    or_last_good::<NeighResolve>(change).map(|(key, row)| Input::Neighbour(key, row))
                }
            })),
            Update::Synced => self.queue.push(Input::Synced),
            Update::Lost { .. } => self.queue.push(Input::Unsynced),
        }
    }

    fn stored(&mut self, _port: usize, update: StoreUpdate) {
        self.queue.push(Input::Store(StoreEvent { place: Here, db: Db::StateDb, update }));
    }

    fn extra(&mut self, extra: Extra) {
        if let Extra::Bfd(changes) = extra {
            self.queue.extend(changes.into_iter().map(|(path, state, discriminator)| Input::Bfd {
                peer: path.peer,
                state: state.map(row_state),
                discriminator,
            }));
        }
    }

    fn handle(&mut self, now: Time, wall: WallMs, out: &mut Vec<Out>) {
        let mut effects = Vec::new();
        self.bear_witness();
        self.core.handle(now, Batch { wall, inputs: std::mem::take(&mut self.queue) }, &mut effects);
        for effect in effects {
            match effect {
                Effect::Forward(forwarding) => out.push(Out::Forward(Box::new(forwarding))),
                Effect::Sessions(sessions) => {
                    self.witness.wanted(now, &sessions);
                    out.push(Out::Bfd(sessions.iter().filter_map(wanted).collect::<Wanted>()));
                }
                Effect::Write(write) => out.push(Out::Write(1, write.write)),
                Effect::Note(note) => out.push(Out::Note(note.to_string())),
            }
        }
        if self.is_synced {
            let wrong = self.witness.wrong(now, self.rule, self.core.forwarding());
            out.extend(wrong.map(Out::Wrong));
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.core.next_deadline().map(|(at, _)| at)
    }
}

/// The row as hamgrd writes it where the HA set has `pinned_vdpu_bfd_probe_states`, which our controller never sets.
fn pinned(mut row: VnetRouteTunnel, pin: Option<(usize, PinnedState)>) -> VnetRouteTunnel {
    if let Some((endpoint, pin)) = pin {
        let pin_of = |index| if index == endpoint { pin } else { PinnedState::None };
        row.pinned_state = (0..row.endpoint_monitor.len()).map(pin_of).collect();
    }
    row
}

fn row_state(state: State) -> BfdState {
    match state {
        State::AdminDown => BfdState::AdminDown,
        State::Down => BfdState::Down,
        State::Init => BfdState::Init,
        State::Up => BfdState::Up,
    }
}

fn wanted((peer, session): (&IpAddr, &Session)) -> Option<(Path, Spec)> {
    let path = Path { peer: *peer, local: session.local, link: Link::ANY, hops: Hops::Multi };
    let spec = Spec {
        role: Role::Active,
        desired_min_tx: Interval::from_ms(session.tx_interval_ms).ok()?,
        required_min_rx: Interval::from_ms(session.rx_interval_ms).ok()?,
        detect_multiplier: NonZeroU8::new(session.multiplier)?,
        min_ttl: MIN_TTL,
        held_down: None,
    };
    Some((path, spec))
}
