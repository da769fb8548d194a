//! How rows travel to a DPU: which way, and where its consumer is.

use std::collections::BTreeMap;
use std::time::Duration;

use hamgr::Input;
use schema::config_db::Dpu;
use schema::{DpuName, Fields, Slot, Table};
use shell::Metrics;
use swss::{Connection, Endpoint, Mode, ORCH_ZMQ_PORT, Store, ZmqAddress, ZmqPeer};
use tokio::sync::watch;

use crate::args::Transport;

/// What a DPU is told, in this order after each handshake.
const DPU_TABLES: &[Table] = &[Table::DashHaSet, Table::DashHaScope, Table::BfdSession];

/// How long to wait before CONFIG_DB is asked again.
const RETRY: Duration = Duration::from_millis(250);

/// The consumers of the DPUs, as CONFIG_DB `DPU` says where they are.
#[derive(Default)]
pub struct Peers {
    rows: BTreeMap<DpuName, Dpu>,
    senders: BTreeMap<Slot, watch::Sender<Option<ZmqPeer>>>,
}

impl Peers {
    /// Where the consumer of the DPU in `slot` is, now and later.
    pub fn of(&mut self, slot: Slot) -> watch::Receiver<Option<ZmqPeer>> {
        self.senders.entry(slot).or_insert_with(|| watch::channel(None).0).subscribe()
    }

    /// Takes in the rows of CONFIG_DB among inputs.
    pub fn take<'a>(&mut self, inputs: impl IntoIterator<Item = &'a Input>) {
        let mut has_changed = false;
        for input in inputs {
            if let Input::Dpu(name, row) = input {
                match row {
                    Some(row) => self.rows.insert(name.clone(), row.clone()),
                    None => self.rows.remove(name),
                };
                has_changed = true;
            }
        }
        if !has_changed {
            return;
        }
        for (slot, sender) in &self.senders {
            // As in the core, the first row of a slot counts.
            let peer = self.rows.values().find(|row| row.dpu_id == *slot).and_then(peer_of);
            sender.send_if_modified(|present| {
                let is_new = *present != peer;
                *present = peer;
                is_new
            });
        }
    }
}

/// `tcp://<midplane_ipv4>:<orchagent_zmq_port>` (`reference/hamgrd.md` 1.3).
fn peer_of(row: &Dpu) -> Option<ZmqPeer> {
    let port = row.orchagent_zmq_port.unwrap_or(ORCH_ZMQ_PORT);
    Some(ZmqPeer::from(ZmqAddress::Tcp { host: row.midplane_ipv4?.to_string(), port }))
}

/// Opens the store of a DPU's rows, once it is known which way they go.
pub async fn open(
    slot: Slot,
    endpoint: Endpoint,
    config: Endpoint,
    transport: Transport,
    peer: watch::Receiver<Option<ZmqPeer>>,
    metrics: Metrics,
) -> Store {
    let over_zmq = match transport {
        Transport::Zmq => true,
        Transport::Redis => false,
        Transport::Auto => is_over_zmq(&config).await,
    };
    if !over_zmq {
        tracing::info!(dpu = %slot, "rows go through DPU_APPL_DB, as of a ProducerStateTable");
        let tables: Vec<(Table, Mode)> =
            DPU_TABLES.iter().map(|table| (*table, Mode::ProducerState)).collect();
        return Store::open(&endpoint, &tables);
    }
    tracing::info!(dpu = %slot, "rows go over ZMQ, and are kept in DPU_APPL_DB");
    let store = Store::open_zmq(&endpoint, DPU_TABLES, peer);
    if let Some(link) = store.zmq() {
        metrics.zmq_link(slot.container(), link.clone());
    }
    store
}

/// Decides as SONiC does (`reference/swss-wire.md` 0), once CONFIG_DB can be read.
async fn is_over_zmq(config: &Endpoint) -> bool {
    let mut was_told = false;
    loop {
        let read = async { Connection::open(config).await?.hgetall("DEVICE_METADATA|localhost").await };
        match read.await {
            Ok(metadata) => return wants_zmq(&metadata),
            Err(error) if was_told => tracing::debug!(%error, "still cannot read DEVICE_METADATA"),
            Err(error) => {
                tracing::warn!(%error, "cannot read DEVICE_METADATA, which says how rows go to DPUs; will keep trying");
                was_told = true;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// ZMQ, unless this is a virtual switch or `orch_northbond_dash_zmq_enabled` is there and not `true`.
fn wants_zmq(metadata: &Fields) -> bool {
    let is_virtual = ["platform", "asic_type"]
        .iter()
        .filter_map(|field| metadata.text(field))
        .any(|value| value == "vs" || value.starts_with("x86_64-kvm_x86_64"));
    !is_virtual && metadata.text("orch_northbond_dash_zmq_enabled").is_none_or(|enabled| enabled == "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_chosen_as_sonic_chooses_it() {
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[], true),
            (&[("platform", "x86_64-nvidia_sn4280-r0")], true),
            (&[("orch_northbond_dash_zmq_enabled", "true")], true),
            (&[("orch_northbond_dash_zmq_enabled", "false")], false),
            (&[("orch_northbond_dash_zmq_enabled", "True")], false),
            (&[("platform", "vs")], false),
            (&[("platform", "x86_64-kvm_x86_64-r0"), ("orch_northbond_dash_zmq_enabled", "true")], false),
            (&[("asic_type", "vs")], false),
        ];
        for (pairs, expected) in cases {
            assert_eq!(wants_zmq(&pairs.iter().copied().collect()), *expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_peer_follows_the_dpus_row() {
        let row = |midplane: &str, port: Option<&str>| {
            let mut fields: Fields = [("dpu_id", "1"), ("midplane_ipv4", midplane)].into_iter().collect();
            if let Some(port) = port {
                fields.set("orchagent_zmq_port", port);
            }
            <Dpu as schema::Row>::from_fields("dpu1", &fields).unwrap()
        };
        let name = <Dpu as schema::Row>::parse_key("dpu1").unwrap();
        let mut peers = Peers::default();
        let known = peers.of(Slot(1));
        let other = peers.of(Slot(0));
        let address = || known.borrow().as_ref().map(|peer| peer.address.to_string());
        assert_eq!(address(), None);
        for (port, expected) in
            [(None, "tcp://169.254.200.2:8100"), (Some("9000"), "tcp://169.254.200.2:9000")]
        {
            peers.take([&Input::Dpu(name.clone(), Some(row("169.254.200.2", port)))]);
            assert_eq!(address().as_deref(), Some(expected));
        }
        peers.take([&Input::Dpu(name, None)]);
        assert_eq!(address(), None);
        assert!(other.borrow().is_none());
    }
}
