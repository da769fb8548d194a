//! The reconciler against a small store with every fault that the contract of `StoreUpdate` allows.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use schema::{Db, Fields, Table};

use crate::{Op, OwnedRow, Plan, Reconciler, RowId, RowWrite, StoreEvent, StoreUpdate, Write};

const TABLES: [Table; 2] = [Table::DashHaSet, Table::DashHaScope];
const PLACES: u8 = 2;

/// Keys of which only strangers make rows.
const STRANGER: &str = "theirs";

#[derive(Clone, Debug)]
enum Step {
    /// The plan wants this row with this content, or no longer wants it.
    Plan(RowId<u8>, Option<u8>),
    /// Somebody else writes or removes a row.
    Meddle(RowId<u8>, Option<u8>),
    /// The server carries out, or refuses, the oldest write of the place.
    Serve { place: u8, refuse: bool },
    /// The oldest report of the place arrives.
    Deliver { place: u8 },
    /// The store re-reads its rows.
    Read { place: u8 },
    /// The connection breaks: unserved writes may still be carried out, reports are lost.
    Lose { place: u8, carried_out: usize },
    /// All databases of the place are emptied.
    Flush { place: u8 },
    /// The core runs.
    Run,
    /// The core is restarted from its recorded state.
    Reload,
}

#[derive(Default)]
struct Server {
    rows: BTreeMap<(Table, String), Fields>,
    queue: VecDeque<RowWrite>,
    reports: VecDeque<StoreUpdate>,
    lost: bool,
}

impl Server {
    fn carry_out(&mut self, write: &RowWrite) {
        let key = (write.table, write.key.clone());
        match &write.op {
            Op::Set(fields) => {
                self.rows.insert(key, fields.clone());
            }
            Op::Merge(fields) => self.rows.entry(key).or_default().merge(fields),
            Op::Del => {
                self.rows.remove(&key);
            }
        }
    }

    fn serve(&mut self, refuse: bool) {
        if let Some(write) = self.queue.pop_front() {
            if !refuse {
                self.carry_out(&write);
            }
            self.reports.push_back(StoreUpdate::Written { write, done: !refuse });
        }
    }

    fn read(&mut self) {
        let rows = self.rows.iter().map(|((table, key), fields)| OwnedRow {
            table: *table,
            key: key.clone(),
            fields: fields.clone(),
            consumed: true,
        });
        self.reports.push_back(StoreUpdate::Snapshot(rows.collect()));
        self.lost = false;
    }

    fn lose(&mut self, carried_out: usize) {
        for write in std::mem::take(&mut self.queue).into_iter().take(carried_out) {
            self.carry_out(&write);
        }
        self.reports.clear();
        self.reports.push_back(StoreUpdate::Lost);
        self.lost = true;
    }
}

#[derive(Default)]
struct World {
    servers: [Server; PLACES as usize],
    reconciler: Reconciler<u8>,
    plan: BTreeMap<RowId<u8>, Fields>,
}

impl World {
    fn server(&mut self, place: u8) -> &mut Server {
        &mut self.servers[usize::from(place)]
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Plan(row, Some(content)) => {
                self.plan.insert(row, fields(content));
            }
            Step::Plan(row, None) => {
                self.plan.remove(&row);
            }
            Step::Meddle(row, content) => {
                let key = (row.table, row.key);
                let rows = &mut self.server(row.place).rows;
                match content {
                    Some(content) => rows.insert(key, fields(content)),
                    None => rows.remove(&key),
                };
                // A change by others always shows in a later snapshot.
                if !self.server(row.place).lost {
                    self.server(row.place).read();
                }
            }
            Step::Serve { place, refuse } => self.server(place).serve(refuse),
            Step::Deliver { place } => self.deliver(place),
            Step::Read { place } => self.server(place).read(),
            Step::Lose { place, carried_out } => self.server(place).lose(carried_out),
            Step::Flush { place } => {
                self.server(place).rows.clear();
                if !self.server(place).lost {
                    self.server(place).read();
                }
            }
            Step::Run => {
                self.run();
            }
            Step::Reload => {
                let json = serde_json::to_string(&self.reconciler).unwrap();
                self.reconciler = serde_json::from_str(&json).unwrap();
            }
        }
    }

    fn deliver(&mut self, place: u8) {
        if let Some(update) = self.server(place).reports.pop_front() {
            self.reconciler.observe(StoreEvent { place, db: Db::DpuApplDb, update });
        }
    }

    /// Lets the core write, and checks what it may never do.
    fn run(&mut self) -> usize {
        let mut plan = Plan::new();
        for (row, fields) in &self.plan {
            plan.want_fields(row.clone(), fields.clone());
        }
        let under_way_before: Vec<RowId<u8>> =
            all_rows().filter(|row| self.reconciler.is_under_way(row)).collect();
        let ready: Vec<bool> =
            (0..PLACES).map(|place| self.reconciler.is_ready(&place, Db::DpuApplDb)).collect();

        let mut out = Vec::new();
        let keep = |row: &RowId<u8>, _: &Fields| row.key == STRANGER;
        self.reconciler.diff(&plan, |table| u8::from(table == TABLES[1]), keep, &mut out);

        let mut written = Vec::new();
        let mut settings = false;
        for Write { place, write } in &out {
            let row = RowId { place: *place, table: write.table, key: write.key.clone() };
            assert!(ready[usize::from(*place)], "{row:?} is written into a store that was not read");
            assert!(!under_way_before.contains(&row) && !written.contains(&row), "two writes to {row:?}");
            assert!(self.reconciler.is_under_way(&row));
            assert_ne!(row.key, STRANGER);
            match &write.op {
                Op::Set(fields) => assert_eq!(self.plan.get(&row), Some(fields)),
                Op::Merge(_) => panic!("a diff replaces"),
                Op::Del => assert!(!settings && !self.plan.contains_key(&row), "removals come first"),
            }
            settings |= write.op != Op::Del;
            written.push(row);
        }
        for Write { place, write } in out {
            self.server(place).queue.push_back(write);
        }
        written.len()
    }

    /// Faults have ended: connections come back, everything is served, and reports arrive.
    fn settle(&mut self) {
        for place in 0..PLACES {
            self.server(place).read();
        }
        for _round in 0..4 {
            self.run();
            for place in 0..PLACES {
                while !self.server(place).queue.is_empty() {
                    self.server(place).serve(false);
                }
                while !self.server(place).reports.is_empty() {
                    self.deliver(place);
                }
            }
        }
    }

    fn assert_converged_and_quiet(&mut self) {
        for place in 0..PLACES {
            let held: BTreeMap<RowId<u8>, Fields> = self.servers[usize::from(place)]
                .rows
                .iter()
                .filter(|((_, key), _)| key != STRANGER)
                .map(|((table, key), fields)| {
                    (RowId { place, table: *table, key: key.clone() }, fields.clone())
                })
                .collect();
            let wanted: BTreeMap<RowId<u8>, Fields> = self
                .plan
                .iter()
                .filter(|(row, _)| row.place == place)
                .map(|(row, fields)| (row.clone(), fields.clone()))
                .collect();
            assert_eq!(held, wanted, "place {place}");
        }
        assert_eq!(self.run(), 0, "at the fixed point nothing is written");
        for place in 0..PLACES {
            self.server(place).read();
            self.deliver(place);
        }
        assert_eq!(self.run(), 0, "nor after reading everything again");
    }
}

fn fields(content: u8) -> Fields {
    (0..=content % 3).map(|field| (format!("field{field}"), content.to_string())).collect()
}

fn all_rows() -> impl Iterator<Item = RowId<u8>> {
    let keys = ["a", "b", "c", STRANGER];
    (0..PLACES).flat_map(move |place| {
        TABLES.into_iter().flat_map(move |table| keys.map(|key| RowId { place, table, key: key.to_owned() }))
    })
}

fn row(keys: &'static [&'static str]) -> impl Strategy<Value = RowId<u8>> {
    (0..PLACES, 0..TABLES.len(), 0..keys.len()).prop_map(move |(place, table, key)| RowId {
        place,
        table: TABLES[table],
        key: keys[key].to_owned(),
    })
}

fn step() -> impl Strategy<Value = Step> {
    let content = || proptest::option::weighted(0.7, 0u8..6);
    let place = || 0..PLACES;
    prop_oneof![
        4 => (row(&["a", "b", "c"]), content()).prop_map(|(row, content)| Step::Plan(row, content)),
        2 => (row(&["a", "b", "c", STRANGER]), content()).prop_map(|(row, content)| Step::Meddle(row, content)),
        5 => (place(), proptest::bool::weighted(0.2)).prop_map(|(place, refuse)| Step::Serve { place, refuse }),
        6 => place().prop_map(|place| Step::Deliver { place }),
        2 => place().prop_map(|place| Step::Read { place }),
        1 => (place(), 0usize..4).prop_map(|(place, carried_out)| Step::Lose { place, carried_out }),
        1 => place().prop_map(|place| Step::Flush { place }),
        6 => Just(Step::Run),
        1 => Just(Step::Reload),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn once_faults_stop_the_store_is_the_plan_and_all_is_quiet(
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let mut world = World::default();
        for step in steps {
            world.step(step);
        }
        world.settle();
        world.assert_converged_and_quiet();
    }
}
