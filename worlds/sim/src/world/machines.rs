//! Servers and DPUs as machines: power, boot, clean-up.

use super::*;

impl World {
    /// Starts a server, empty unless it `keeps` its data, and loads what `config-setup` would.
    pub(crate) fn server_up(&mut self, server: Server, keeps: bool) {
        if let Some(redis) = self.servers.get_mut(&server) {
            if !keeps {
                redis.lose_data();
            }
            redis.is_up = true;
        }
        if let Server::Host(switch) = server {
            self.load_config(switch);
        }
    }

    /// The server is gone, with all its data unless it `keeps` them.
    pub(crate) fn server_down(&mut self, server: Server, keeps: bool) {
        self.trace.line(self.now, || format!("redis {server} ENDS"));
        if let Some(redis) = self.servers.get_mut(&server) {
            if !keeps {
                redis.lose_data();
            }
            redis.is_up = false;
        }
        if !keeps {
            Checks::data_lost(self, server);
        }
        self.cut_clients(|client| client.server == server);
    }

    /// Breaks the connections of these clients.
    pub(crate) fn cut_clients(&mut self, which: impl Fn(&Client) -> bool) {
        let mut woken = Vec::new();
        for (id, client) in &mut self.clients {
            if which(client) && client.cut() {
                woken.push(*id);
            }
        }
        for id in woken {
            let wait = self.rng.latency();
            self.wake(id, wait);
        }
    }

    /// Somebody outside of the system writes a row.
    pub(crate) fn put(&mut self, server: Server, table: Table, key: String, fields: Fields) {
        let redis = self.servers.get_mut(&server).filter(|redis| redis.is_up);
        let Some(database) = redis.and_then(|redis| redis.databases.get_mut(&table.db())) else { return };
        let write = RowWrite { table, key, op: Op::Set(fields) };
        let notices = database.write(Mode::Table, &write);
        self.trace.line(self.now, || {
            format!("outside writes {server} {} {} {:?}", table.db(), table.redis_key(&write.key), write.op)
        });
        self.deliver(server, table.db(), &notices);
    }

    /// Empties a database.
    pub(crate) fn flush(&mut self, server: Server, db: Db, politely: bool) {
        let redis = self.servers.get_mut(&server).filter(|redis| redis.is_up);
        let Some(database) = redis.and_then(|redis| redis.databases.get_mut(&db)) else { return };
        let notices = database.flush(politely);
        if let (Server::OfDpu(dpu), Db::DpuApplDb) = (server, db) {
            Checks::emptied(self, dpu);
        }
        if db == Db::ApplDb {
            Checks::data_lost(self, server);
        }
        self.trace.line(self.now, || format!("redis {server} {db} is FLUSHED"));
        // Any flush on a server is told to all who listen there.
        for other in server.databases() {
            if *other != db {
                self.deliver(server, *other, &[Notice::Flushed]);
            }
        }
        self.deliver(server, db, &notices);
    }

    pub(crate) fn boot(&mut self, dpu: DpuRef) {
        let wall = self.wall();
        let id = self.rng.any();
        let Some(device) = self.devices.get_mut(&dpu) else { return };
        if device.is_on {
            return;
        }
        device.boots += 1;
        device.is_on = true;
        device.booted = wall;
        device.boot_id = format!("boot{}-{id:016x}", device.boots);
        device.midplane_up = true;
        device.is_announced = false;
        device.system = LinkState::Down;
        let boots = device.boots;
        Checks::booted(self, dpu);
        Checks::restarted(self, dpu);
        self.trace.line(self.now, || format!("{dpu} BOOTS (boot {boots})"));
        self.server_up(Server::Local(dpu), false);
        let port: Fields = [("admin_status", "up")].into_iter().collect();
        self.put(Server::Local(dpu), Table::Port, DPU_PORT.to_owned(), port);
        self.port(dpu, LinkState::Up);
        let wait = self.rng.between(20 * MS, 400 * MS);
        self.after(wait, Ev::Clean(dpu, boots, 0));
    }

    pub(crate) fn port(&mut self, dpu: DpuRef, state: LinkState) {
        if let Some(device) = self.devices.get_mut(&dpu) {
            device.port = state;
        }
        let row: Fields = [("oper_status", state.as_str())].into_iter().collect();
        self.put(Server::Local(dpu), Table::PortTable, DPU_PORT.to_owned(), row);
    }

    pub(crate) fn system_ready(&mut self, dpu: DpuRef, state: LinkState) {
        if let Some(device) = self.devices.get_mut(&dpu) {
            device.system = state;
        }
        let row: Fields = [("Status", state.as_str().to_uppercase())].into_iter().collect();
        self.put(Server::Local(dpu), Table::SystemReady, "SYSTEM_STATE".to_owned(), row);
    }

    pub(crate) fn clean(&mut self, dpu: DpuRef, boot: u64, at: usize) {
        let Some(device) = self.devices.get(&dpu) else { return };
        if !device.is_on || device.boots != boot || self.procs.contains_key(&Proc::Haorchd(dpu)) {
            return;
        }
        let server = Server::OfDpu(dpu);
        let answers = !device.midplane_cut && self.servers.get(&server).is_some_and(|redis| redis.is_up);
        let Some(db) = Db::OF_A_DPU.get(at).copied() else {
            self.start(Proc::Haorchd(dpu), boot);
            return;
        };
        if answers {
            if db == Db::DpuApplDb {
                Checks::cleaned(self, dpu);
            }
            self.flush(server, db, true);
            let wait = self.rng.latency();
            self.after(wait, Ev::Clean(dpu, boot, at + 1));
        } else {
            let wait = self.rng.between(50 * MS, 500 * MS);
            self.after(wait, Ev::Clean(dpu, boot, at));
        }
    }

    /// haorchd is ready for the first time in this boot: the system is.
    pub(crate) fn announce(&mut self, dpu: DpuRef) {
        let Some(device) = self.devices.get_mut(&dpu) else { return };
        if std::mem::replace(&mut device.is_announced, true) {
            return;
        }
        let boots = device.boots;
        self.system_ready(dpu, LinkState::Up);
        let wait = self.rng.between(5 * MS, 200 * MS);
        self.after(wait, Ev::Start(Proc::PmonDpu(dpu), boots));
    }

    /// A DPU loses power.
    pub(crate) fn power_off(&mut self, dpu: DpuRef) {
        let Some(device) = self.devices.get_mut(&dpu).filter(|device| device.is_on) else { return };
        device.is_on = false;
        device.midplane_up = false;
        Checks::restarted(self, dpu);
        self.trace.line(self.now, || format!("{dpu} is OFF"));
        self.kill(Proc::Haorchd(dpu));
        self.kill(Proc::PmonDpu(dpu));
        self.impostor_ends(dpu);
        self.server_down(Server::Local(dpu), false);
    }

    pub(crate) fn midplane(&mut self, dpu: DpuRef, up: bool, cuts: bool) {
        if let Some(device) = self.devices.get_mut(&dpu) {
            device.midplane_up = up;
            if device.midplane_cut != cuts {
                self.link_turns.insert(dpu, self.now);
            }
            device.midplane_cut = cuts;
        }
        if cuts {
            self.cut_clients(|client| {
                client.proc.on_dpu() == Some(dpu) && client.server != Server::Local(dpu)
            });
        }
    }
}
