//! The tables of `reference/dpu-side.md` 3.5 and 3.7, what rows say, stories of one NPU, and the same at random.

mod dvs;
mod forwarding;
mod properties;
mod rows;
mod stories;
mod table;

use std::collections::BTreeMap;
use std::net::IpAddr;

use reconcile::{Batch, Core, Op, OwnedRow, StoreEvent, StoreUpdate, Time};
use schema::appl_db::{NeighResolve, NeighbourKey, VnetRouteKey, VnetRouteTunnel};
use schema::state_db::{NpuBfdSession, VnetRouteTunnelState};
use schema::{BfdState, Db, Fields, PinnedState, Row, Table, WallMs};

use crate::{Effect, Forwarding, Here, Input, NextHopRule, Note, NpuConfig, NpuModel, Session};

pub(super) const VNET: &str = "Vnet_55";
pub(super) const VIP: &str = "10.3.0.1";

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| ip(text)).collect()
}

pub(super) fn key(prefix: &str) -> VnetRouteKey {
    VnetRouteKey { vnet: VNET.to_owned(), prefix: prefix.to_owned() }
}

/// A row as hamgrd writes it: each endpoint is its own monitor.
pub(super) fn row(endpoints: &[&str], primary: &[&str]) -> VnetRouteTunnel {
    VnetRouteTunnel {
        endpoint: ips(endpoints),
        endpoint_monitor: ips(endpoints),
        monitoring: Some("custom_bfd".to_owned()),
        primary: ips(primary),
        rx_monitor_timer_ms: Some(100),
        tx_monitor_timer_ms: Some(100),
        check_directly_connected: false,
        pinned_state: Vec::new(),
    }
}

/// An NPU with a `STATE_DB` that takes every write at once, and whatever runs its sessions and forwards.
pub(super) struct Npu {
    pub(super) model: NpuModel,
    pub(super) state_db: BTreeMap<(Table, String), Fields>,
    pub(super) sessions: BTreeMap<IpAddr, Session>,
    pub(super) forwarding: Forwarding,
    pub(super) notes: Vec<Note>,
    /// Writes so far.
    pub(super) writes: usize,
    now: Time,
}

impl Npu {
    pub(super) fn new(rule: NextHopRule) -> Self {
        let config = NpuConfig {
            rule,
            tunnel_source_v4: Some("10.1.0.32".parse().unwrap()),
            tunnel_source_v6: Some("fd00:1::32".parse().unwrap()),
        };
        let mut npu = Self {
            model: NpuModel::new(config),
            state_db: BTreeMap::new(),
            sessions: BTreeMap::new(),
            forwarding: Forwarding::default(),
            notes: Vec::new(),
            writes: 0,
            now: Time(0),
        };
        npu.give([npu.snapshot(), Input::Synced]);
        npu
    }

    pub(super) fn snapshot(&self) -> Input {
        let rows = self.state_db.iter().map(|((table, key), fields)| OwnedRow {
            table: *table,
            key: key.clone(),
            fields: fields.clone(),
            consumed: true,
        });
        self.store(StoreUpdate::Snapshot(rows.collect()))
    }

    fn store(&self, update: StoreUpdate) -> Input {
        Input::Store(StoreEvent { place: Here, db: Db::StateDb, update })
    }

    pub(super) fn give(&mut self, inputs: impl IntoIterator<Item = Input>) {
        let mut inputs: Vec<Input> = inputs.into_iter().collect();
        loop {
            let mut effects = Vec::new();
            self.model.handle(self.now, Batch { wall: WallMs(0), inputs }, &mut effects);
            inputs = effects.into_iter().filter_map(|effect| self.carry_out(effect)).collect();
            if inputs.is_empty() {
                return;
            }
        }
    }

    /// Lets the time pass that new sessions may take to come up.
    pub(super) fn wait_for_sessions(&mut self) {
        self.now = self.now.after_ms(crate::FIRST_UP_MS_MAX);
        self.give([]);
        assert_eq!(self.model.next_deadline(), None);
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::Forward(forwarding) => self.forwarding = forwarding,
            Effect::Sessions(sessions) => self.sessions = sessions,
            Effect::Note(note) => self.notes.push(note),
            Effect::Write(write) => {
                self.writes += 1;
                let write = write.write;
                let id = (write.table, write.key.clone());
                match write.op.clone() {
                    Op::Set(fields) => self.state_db.insert(id, fields),
                    Op::Del => self.state_db.remove(&id),
                    Op::Merge(_) => panic!("nobody else writes {id:?}"),
                };
                return Some(self.store(StoreUpdate::Written { write, done: true }));
            }
        }
        None
    }

    pub(super) fn route(&mut self, prefix: &str, row: VnetRouteTunnel) {
        self.give([Input::Route(key(prefix), Some(row))]);
    }

    pub(super) fn neighbour(&mut self, address: &str) {
        let key = NeighbourKey { interface: "Vlan55".to_owned(), address: ip(address) };
        self.give([Input::Neighbour(key, Some(NeighResolve { mac: None }))]);
    }

    pub(super) fn bfd(&mut self, peer: &str, state: BfdState) {
        self.give([Input::Bfd { peer: ip(peer), state: Some(state), discriminator: Some(7) }]);
    }

    /// Where the VIP's traffic goes.
    pub(super) fn next_hops(&self, prefix: &str) -> Vec<String> {
        let vips = self.forwarding.vips.iter().filter(|(vip, _)| vip.to_string() == prefix);
        let hops = vips.flat_map(|(_, vip)| vip.next_hops.iter().map(|hop| hop.endpoint.to_string()));
        hops.collect()
    }

    /// The state row of the VIP: state and endpoints.
    pub(super) fn route_state(&self, prefix: &str) -> Option<(String, String)> {
        let key = VnetRouteTunnelState::key_text(&key(prefix));
        let fields = self.state_db.get(&(Table::VnetRouteTunnelState, key))?;
        Some((fields.text("state")?.to_owned(), fields.text("active_endpoints")?.to_owned()))
    }

    pub(super) fn session_row(&self, peer: &str) -> Option<NpuBfdSession> {
        let key = NpuBfdSession::key_text(&crate::sessions::key(ip(peer)));
        let fields = self.state_db.get(&(Table::NpuBfdSession, key.clone()))?;
        Some(NpuBfdSession::from_fields(&key, fields).unwrap())
    }
}

pub(super) fn pinned(row: VnetRouteTunnel, pins: [PinnedState; 2]) -> VnetRouteTunnel {
    VnetRouteTunnel { pinned_state: pins.to_vec(), ..row }
}
