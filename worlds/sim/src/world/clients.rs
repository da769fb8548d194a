//! Clients of the databases: their steps, and how what they read and write gets to the processes and back.

use super::*;

impl World {
    pub(crate) fn is_reachable(&self, client: &Client) -> bool {
        let is_cut = client.proc.on_dpu().is_some_and(|dpu| {
            client.server != Server::Local(dpu)
                && self.devices.get(&dpu).is_none_or(|device| device.midplane_cut)
        });
        let is_away = client.proc.machine() == Machine::Controller
            && self.unreachable.contains_key(&client.server.switch());
        !is_cut && !is_away && self.servers.get(&client.server).is_some_and(|server| server.is_up)
    }

    /// How long something takes in a process.
    pub(crate) fn latency(&mut self, proc: Proc) -> Micros {
        let slow = self.procs.get(&proc).filter(|process| process.slow_until > self.now);
        let slow = slow.map_or(0, |process| process.slow);
        let extra = self.rng.below(slow + 1);
        self.rng.latency() + extra
    }

    pub(crate) fn wake(&mut self, id: ClientId, wait: Micros) {
        let at = self.now + wait;
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.wake_at.is_none() {
            client.wake_at = Some(at);
            self.after(wait, Ev::Client(id));
        }
    }

    pub(crate) fn wake_feed(&mut self, id: ClientId, wait: Micros) {
        let at = self.now + wait;
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.feed_at.is_none() {
            client.feed_at = Some(at);
            self.after(wait, Ev::Feed(id));
        }
    }

    pub(crate) fn pause_left(&self, proc: Proc) -> Micros {
        self.procs.get(&proc).map_or(0, |process| process.paused_until.saturating_sub(self.now))
    }

    pub(crate) fn client(&mut self, id: ClientId) {
        let Some(proc) = self.clients.get(&id).map(|client| client.proc) else { return };
        let pause = self.pause_left(proc);
        if pause > 0 {
            self.after(pause, Ev::Client(id));
            return;
        }
        let latency = self.latency(proc);
        let Some(mut client) = self.clients.remove(&id) else { return };
        client.wake_at = None;
        let is_reachable = self.is_reachable(&client);
        let server = self.servers.get_mut(&client.server).filter(|_| is_reachable);
        let database = server.and_then(|server| server.databases.get_mut(&client.db));
        let unanswered = self.procs.get(&proc).is_some_and(|process| process.unanswered.is_some());
        let before = unanswered.then(|| client.clone());
        let mut stepped = client.step(self.now, latency, database);
        let (server, db) = (client.server, client.db);
        if let Some(mut before) = before.filter(|_| self.loses_answer(proc, &stepped)) {
            before.cut();
            client = before;
            (stepped.again, stepped.fed) = (Some(latency), false);
            self.trace.line(self.now, || format!("{proc} gets no answer from {server} {db}"));
        }
        self.clients.insert(id, client);
        for (write, known) in &stepped.written {
            self.trace.write(self.now, proc, server, db, write);
            Checks::written(self, proc, server, write, *known);
            self.watch(server, db, write);
        }
        for (table, key) in &stepped.popped {
            self.trace.line(self.now, || format!("{proc} pops   {server} {db} {}", table.redis_key(key)));
        }
        self.deliver(server, db, &stepped.notices);
        if let Some(again) = stepped.again {
            self.wake(id, again);
        }
        if stepped.fed {
            let wait = self.rng.between(5, 300);
            self.wake_feed(id, wait);
        }
        if !stepped.notices.is_empty() {
            Checks::changed(self, server, db);
        }
        self.settle_link(id);
        self.doom(proc, stepped.written.len() as u64);
    }

    /// Whether this step's answer is the one that is lost.
    pub(crate) fn loses_answer(&mut self, proc: Proc, stepped: &Stepped) -> bool {
        let Some(process) = self.procs.get_mut(&proc) else { return false };
        if stepped.written.is_empty() && stepped.popped.is_empty() {
            return false;
        }
        let left = process.unanswered.take().unwrap_or_default();
        process.unanswered = left.checked_sub(1).filter(|left| *left > 0);
        process.unanswered.is_none()
    }

    /// Ends a process that was to end after so many writes.
    pub(crate) fn doom(&mut self, proc: Proc, writes: u64) {
        let Some(process) = self.procs.get_mut(&proc).filter(|_| writes > 0) else { return };
        let Some((left, wait)) = process.doomed else { return };
        process.doomed = Some((left.saturating_sub(writes), wait));
        if left <= writes {
            self.crash(proc, wait);
        }
    }

    pub(crate) fn watch(&mut self, server: Server, db: Db, write: &RowWrite) {
        if let Some(seen) = &mut self.writes_seen {
            let op = match write.op {
                Op::Set(_) | Op::Merge(_) => "hset",
                Op::Del => "del",
            };
            let redis_key = write.table.redis_key(&write.key);
            seen.push(WriteSeen { place: server.to_string(), db, redis_key, op: op.to_owned() });
        }
    }

    pub(crate) fn deliver(&mut self, server: Server, db: Db, notices: &[Notice]) {
        if notices.is_empty() {
            return;
        }
        Checks::noticed(self, server, db, notices);
        self.tell(server, db, &Told::of(db, notices));
    }

    /// Whoever listens is told.
    pub(crate) fn tell(&mut self, server: Server, db: Db, told: &Told) {
        let mut woken = Vec::new();
        for id in self.listeners.get(&(server, db)).into_iter().flatten() {
            let Some(client) = self.clients.get_mut(id) else { continue };
            if client.notice(told) {
                woken.push((*id, client.proc));
            }
        }
        for (id, proc) in woken {
            let wait = self.latency(proc);
            self.wake(id, wait);
        }
    }

    pub(crate) fn feed(&mut self, id: ClientId) {
        let Some(proc) = self.clients.get(&id).map(|client| client.proc) else { return };
        let pause = self.pause_left(proc);
        if pause > 0 {
            self.after(pause, Ev::Feed(id));
            return;
        }
        let forwards_first = self.rng.chance(500);
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.feed_at = None;
        let (port, server, db) = (client.port, client.server, client.db);
        let Some(process) = self.procs.get_mut(&proc) else { return };
        let (mut wakes, mut fed, mut again) = (false, false, false);
        match &mut client.kind {
            Kind::Reader(reader) => {
                if let Some(update) = reader.take() {
                    self.trace.read(self.now, proc, server, db, &update);
                    process.part.update(port, update);
                    (fed, again) = (true, true);
                }
            }
            Kind::Store(store) => {
                let forward = !store.port.is_empty() && (forwards_first || !store.has_update());
                if forward {
                    if let Some(batch) = store.port.pop_front() {
                        wakes = store.write(batch);
                    }
                    again = true;
                } else if let Some(update) = store.take() {
                    self.trace.stored(self.now, proc, server, db, &update);
                    process.part.stored(port, update);
                    (fed, again) = (true, true);
                }
            }
            Kind::Consumer(consumer) => {
                if let Some(update) = consumer.take() {
                    self.trace.read(self.now, proc, server, db, &update);
                    process.part.update(port, update);
                    (fed, again) = (true, true);
                }
            }
            Kind::Producer(producer) => {
                let has_batch = !producer.port.is_empty();
                again = has_batch || producer.has_update() || producer.has_work();
                if has_batch && (forwards_first || !(producer.has_update() || producer.has_work())) {
                    if let Some(batch) = producer.port.pop_front() {
                        producer.write(batch);
                    }
                } else if producer.has_update() && (!forwards_first || !producer.has_work()) {
                    if let Some(update) = producer.take() {
                        self.trace.stored(self.now, proc, server, db, &update);
                        process.part.stored(port, update);
                        fed = true;
                    }
                } else if producer.has_work() {
                    producer.work(self.now, forwards_first);
                }
            }
        }
        self.settle_link(id);
        if wakes {
            let wait = self.latency(proc);
            self.wake(id, wait);
        }
        if fed {
            self.schedule_step(proc, 20);
        }
        if again {
            let wait = self.rng.between(5, 100);
            self.wake_feed(id, wait);
        }
    }
}
