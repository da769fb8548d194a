//! What operators, platforms and strangers do to rows.

use reconcile::{Op, RowWrite};
use schema::{Db, Fields, Table};

use crate::checks::Checks;
use crate::client::Told;
use crate::faults::Mischief;
use crate::redis::Mode;
use crate::rng::{MS, Micros};
use crate::topology::{DPU_PORT, DpuRef, Server};
use crate::world::{Later, World};

/// The key of a row that means nothing.
pub(crate) const STRANGE_KEY: &str = "what?is:this|row";

/// When a stranger who does not reach a server tries again.
const RETRY: Micros = 100 * MS;

impl World {
    /// A stranger meddles with a row.
    pub(crate) fn meddle(&mut self, server: Server, table: Table, how: Mischief, pick: u64, undone: Micros) {
        let database = self.servers.get(&server).filter(|redis| redis.is_up);
        let Some(database) = database.and_then(|redis| redis.databases.get(&table.db())) else { return };
        let rows: Vec<(String, Fields)> = database
            .rows
            .range((table, String::new())..)
            .take_while(|(row, _)| row.0 == table)
            .map(|(row, fields)| (row.1.clone(), fields.clone()))
            .collect();
        let at = usize::try_from(pick % (rows.len() as u64).max(1)).unwrap_or_default();
        match (how, rows.get(at)) {
            (Mischief::Garble, Some((key, fields))) => {
                let names: Vec<&str> = fields.iter().map(|(name, _)| name).collect();
                let at = usize::try_from((pick >> 8) % (names.len() as u64).max(1)).unwrap_or_default();
                let name = names.get(at).copied().unwrap_or("NULL");
                let mut fields = fields.clone();
                fields.set(name, "what?");
                self.put(server, table, key.clone(), fields);
            }
            (Mischief::Delete, Some((key, _))) => self.erase(server, table, key.clone()),
            (Mischief::Add, _) => {
                let fields: Fields = [("what", "is this")].into_iter().collect();
                self.put(server, table, STRANGE_KEY.to_owned(), fields);
            }
            (Mischief::Near, _) => {
                self.name_nearly(server, table, pick);
                return;
            }
            (Mischief::Garble | Mischief::Delete, None) => return,
        }
        Checks::meddled(self, server, table);
        self.later_in(undone, Later::TakenBack(server, table));
    }

    /// A stranger writes a Redis key that is none of a row's, and deletes it. That concerns nobody.
    fn name_nearly(&mut self, server: Server, table: Table, pick: u64) {
        let (name, separator) = (table.name(), table.db().separator());
        let names = [
            format!("{name}{separator}"),
            name.to_owned(),
            format!("_{name}{separator}"),
            format!("{name}_KEY_SET"),
            format!("{name}_DEL_SET"),
            format!("{name}_OLD{separator}what?"),
            format!("{name}-"),
        ];
        let at = usize::try_from(pick % names.len() as u64).unwrap_or_default();
        let mut key = names.get(at).cloned().unwrap_or_default().into_bytes();
        if key.ends_with(&[separator as u8]) {
            key.extend_from_slice(b"\xff\xfe");
        }
        for gone in [false, true] {
            self.tell(server, table.db(), &Told::of_key(table.db(), &key, gone));
        }
    }

    /// The stranger takes back what he added; what others than our parts keep, they state again.
    pub(crate) fn take_back(&mut self, server: Server, table: Table) {
        if !self.servers.get(&server).is_some_and(|redis| redis.is_up) {
            self.later_in(RETRY, Later::TakenBack(server, table));
            return;
        }
        self.erase(server, table, STRANGE_KEY.to_owned());
        match server {
            Server::Host(switch) if table.db() == Db::ConfigDb => self.load_config(switch),
            Server::Local(dpu) => self.state_local(dpu),
            Server::Host(_) | Server::Chassis(_) | Server::OfDpu(_) => {}
        }
    }

    /// Somebody outside of the system deletes a row.
    pub(crate) fn erase(&mut self, server: Server, table: Table, key: String) {
        let redis = self.servers.get_mut(&server).filter(|redis| redis.is_up);
        let Some(database) = redis.and_then(|redis| redis.databases.get_mut(&table.db())) else { return };
        let notices = database.write(Mode::Table, &RowWrite { table, key: key.clone(), op: Op::Del });
        if !notices.is_empty() {
            self.trace.line(self.now, || {
                format!("outside deletes {server} {} {}", table.db(), table.redis_key(&key))
            });
        }
        self.deliver(server, table.db(), &notices);
    }

    /// Loads `CONFIG_DB` of a switch as it ought to be; rows that are so are left alone.
    pub(crate) fn load_config(&mut self, switch: u8) {
        let server = Server::Host(switch);
        let multiplier = self.multipliers.get(&switch).copied();
        for (table, key, fields) in self.topology.npu_config(switch, multiplier, &self.variant) {
            let present = self.servers.get(&server).and_then(|redis| redis.databases.get(&table.db()));
            let present = present.and_then(|database| database.rows.get(&(table, key.clone())));
            if present != Some(&fields) {
                self.put(server, table, key, fields);
            }
        }
    }

    /// The DPU's own services state what is true of it.
    pub(crate) fn state_local(&mut self, dpu: DpuRef) {
        let Some(device) = self.devices.get(&dpu).filter(|device| device.is_on) else { return };
        let (is_announced, system, port) = (device.is_announced, device.system, device.port);
        let row: Fields = [("admin_status", "up")].into_iter().collect();
        self.put(Server::Local(dpu), Table::Port, DPU_PORT.to_owned(), row);
        self.port(dpu, port);
        if is_announced {
            self.system_ready(dpu, system);
        }
    }

    /// The DPU's own databases lose their rows.
    pub(crate) fn lose_local(&mut self, dpu: DpuRef) {
        for db in Server::Local(dpu).databases() {
            self.flush(Server::Local(dpu), *db, false);
        }
    }
}
