//! Any order of rows, events, failures and lost stores: it never panics, P4 and P5 hold throughout, and once it
//! is left alone it is quiet.

use proptest::prelude::*;
use schema::{AsicHaRole, AsicHaState, Db, Table};

use super::*;

const SETS: [&str; 2] = ["S0", "S1"];
const NPUS: [&str; 2] = ["10.1.0.32", "10.1.0.33"];

#[derive(Clone, Debug)]
enum Act {
    Set(usize, Option<(u16, u8)>),
    Scope(usize, Option<(AsicHaRole, bool, usize, [bool; 3])>),
    Bfd(usize, Option<Option<usize>>),
    Refuse(bool, usize),
    Event(usize, HaScopeEventKind, AsicHaRole, AsicHaState, u32),
    Channel(usize, bool),
    Flush(Place),
    Lose(Place, bool),
    HoldLocal(bool),
    Fail(SaiStatus),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let which = 0..2usize;
    let role = prop::sample::select(AsicHaRole::ALL);
    let state = prop::sample::select(AsicHaState::ALL);
    let kind = prop::sample::select(&[
        HaScopeEventKind::StateChanged,
        HaScopeEventKind::StateChanged,
        HaScopeEventKind::StateChanged,
        HaScopeEventKind::FlowReconcileNeeded,
        HaScopeEventKind::SplitBrainDetected,
    ]);
    let place = prop::sample::select(&[Place::Local, Place::Remote]);
    // Objects that are there are found.
    let is_possible =
        |status: &SaiStatus| !matches!(status, SaiStatus::ItemNotFound | SaiStatus::AddrNotFound);
    let status = prop::sample::select(SaiStatus::ALL.iter().copied().filter(is_possible).collect::<Vec<_>>());
    prop_oneof![
        4 => (which.clone(), prop::option::weighted(0.8, (4789..4791u16, 1..3u8))).prop_map(|(n, row)| Act::Set(n, row)),
        6 => (which.clone(), prop::option::weighted(0.85, (role.clone(), prop::bool::weighted(0.2), which.clone(), any::<[bool; 3]>())))
            .prop_map(|(n, row)| Act::Scope(n, row)),
        3 => (which.clone(), prop::option::weighted(0.8, prop::option::of(which.clone()))).prop_map(|(n, row)| Act::Bfd(n, row)),
        1 => (any::<bool>(), which.clone()).prop_map(|(is_set, n)| Act::Refuse(is_set, n)),
        8 => (which.clone(), kind, role, state, 0..3u32).prop_map(|(n, kind, role, state, term)| Act::Event(n, kind, role, state, term)),
        1 => (which, any::<bool>()).prop_map(|(n, up)| Act::Channel(n, up)),
        1 => place.clone().prop_map(Act::Flush),
        1 => (place, any::<bool>()).prop_map(|(place, lost)| Act::Lose(place, lost)),
        3 => any::<bool>().prop_map(Act::HoldLocal),
        1 => status.prop_map(Act::Fail),
        2 => (0..40_000u64).prop_map(Act::Pass),
    ]
}

fn local_ip(n: usize) -> std::net::IpAddr {
    format!("192.168.{n}.1").parse().unwrap()
}

/// What the test itself knows, to tell what ought to be.
#[derive(Debug, Default)]
struct Oracle {
    bfd: BTreeMap<usize, Option<usize>>,
    scopes: BTreeMap<usize, (AsicHaRole, bool, usize)>,
    sets: BTreeMap<usize, ()>,
    states: BTreeMap<Oid, AsicHaState>,
}

fn scope_oid(dpu: &Dpu, n: usize) -> Option<Oid> {
    dpu.orch.scopes.get(&scope_id(SETS[n])).and_then(|scope| scope.object.as_ref()).map(|object| object.oid)
}

fn store_of(place: Place) -> &'static [Db] {
    match place {
        Place::Local => &[Db::StateDb],
        Place::Remote => &[Db::DpuStateDb, Db::DpuApplStateDb],
    }
}

fn perform(dpu: &mut Dpu, oracle: &mut Oracle, act: Act) {
    match act {
        Act::Set(n, row) => {
            let row = row.map(|(port, peer)| HaSet {
                local_ip: Some(local_ip(n)),
                peer_ip: Some(format!("192.168.9.{peer}").parse().unwrap()),
                cp_data_channel_port: Some(port),
                ..ha_set()
            });
            match row {
                Some(_) => oracle.sets.insert(n, ()),
                None => oracle.sets.remove(&n),
            };
            dpu.set_row(SETS[n], row);
        }
        Act::Scope(n, row) => {
            match row {
                Some((role, disabled, set, _)) => oracle.scopes.insert(n, (role, disabled, set)),
                None => oracle.scopes.remove(&n),
            };
            let row = row.map(|(ha_role, disabled, set, [activate, reconcile, recover])| HaScope {
                ha_role,
                disabled,
                ha_set_id: Some(set_id(SETS[set])),
                activate_role_requested: Some(activate),
                flow_reconcile_requested: Some(reconcile),
                brainsplit_recovered: Some(recover),
                ..ha_scope()
            });
            dpu.scope_row(SETS[n], row);
        }
        Act::Bfd(n, row) => {
            match row {
                Some(local) => oracle.bfd.insert(n, local),
                None => oracle.bfd.remove(&n),
            };
            let row = row.map(|local| BfdSession { local_addr: local.map(local_ip), ..bfd_session() });
            dpu.bfd_row(NPUS[n], row);
        }
        Act::Refuse(is_set, n) => {
            dpu.refuse(if is_set { Table::DashHaSet } else { Table::DashHaScope }, SETS[n])
        }
        Act::Event(n, kind, role, state, term) => {
            let Some(oid) = scope_oid(dpu, n) else { return };
            if kind == HaScopeEventKind::StateChanged {
                oracle.states.insert(oid, state);
            }
            dpu.step(vec![Input::Event(AsicEvent::HaScope {
                kind,
                ha_scope_id: oid,
                ha_role: role,
                flow_version: term,
                ha_state: state,
            })]);
        }
        Act::Channel(n, up) => {
            let oid = dpu
                .orch
                .sets
                .get(&set_id(SETS[n]))
                .and_then(|set| set.object.as_ref())
                .map(|object| object.oid);
            let Some(ha_set_id) = oid else { return };
            let dp_channel = if up { LinkState::Up } else { LinkState::Down };
            dpu.step(vec![Input::Event(AsicEvent::HaSet { ha_set_id, dp_channel })]);
        }
        Act::Flush(place) => {
            dpu.release_local();
            dpu.rows.retain(|(at, _, _), _| *at != place);
            let inputs = store_of(place).iter().map(|db| dpu.snapshot(place, *db)).collect();
            dpu.step(inputs);
        }
        Act::Lose(place, is_lost) => {
            if is_lost && place == Place::Local {
                // A lost connection takes its writes along.
                dpu.held_local.clear();
            }
            let inputs = store_of(place).iter().map(|db| {
                if is_lost {
                    Input::Store(StoreEvent { place, db: *db, update: StoreUpdate::Lost })
                } else {
                    dpu.snapshot(place, *db)
                }
            });
            let inputs = inputs.collect();
            dpu.step(inputs);
        }
        Act::HoldLocal(true) => dpu.holds_local = true,
        Act::HoldLocal(false) => dpu.release_local(),
        Act::Fail(status) => dpu.asic.failures.push_back(status),
        Act::Pass(ms) => dpu.pass_ms(ms),
    }
}

/// P5: at the moment that a scope is told to go down, no session stands that ought not to exist. Looks at the order
/// in which things were done.
fn goes_down_without_bfd(dpu: &Dpu, oracle: &Oracle, bfd_before: &[String], done_before: usize) {
    let expected = expected_bfd(dpu, oracle);
    let mut there: Vec<String> = bfd_before.to_vec();
    for done in &dpu.done[done_before..] {
        match done {
            Done::Wrote(Table::BfdSoftwareSession, key, true) => there.push(key.clone()),
            Done::Wrote(Table::BfdSoftwareSession, key, false) => there.retain(|other| other != key),
            Done::Wrote(..) => {}
            Done::Called(op) => {
                let goes_down = is_remove_scope(op)
                    || matches!(
                        op,
                        AsicOp::SetHaScope(_, HaScopeAttribute::DashHaRole(AsicHaRole::Dead))
                            | AsicOp::SetHaScope(_, HaScopeAttribute::AdminState(false))
                    );
                if goes_down {
                    let overdue: Vec<_> = there.iter().filter(|key| !expected.contains(key)).collect();
                    assert!(overdue.is_empty(), "{op:?} while {overdue:?} still stands");
                }
            }
        }
    }
}

fn expected_bfd(dpu: &Dpu, oracle: &Oracle) -> Vec<String> {
    let mut serving = std::collections::BTreeSet::new();
    for (n, (role, disabled, set)) in &oracle.scopes {
        let object = dpu.orch.scopes.get(&scope_id(SETS[*n])).and_then(|scope| scope.object.as_ref());
        let serves = object.is_some_and(|object| {
            !object.is_unheard && oracle.states.get(&object.oid).is_some_and(|state| state.serves())
        });
        if serves && *role != AsicHaRole::Dead && !disabled && oracle.sets.contains_key(set) {
            serving.insert(*set);
        }
    }
    let wanted = oracle.bfd.iter().filter(|(_, local)| match local {
        Some(n) => serving.contains(n),
        None => !serving.is_empty(),
    });
    wanted.map(|(n, _)| format!("default|default|{}", NPUS[*n])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_it_stays_right_and_then_is_quiet(acts in prop::collection::vec(act(), 1..60)) {
        let mut dpu = Dpu::booted();
        let mut oracle = Oracle::default();
        for act in acts {
            let is_flush = matches!(act, Act::Flush(Place::Local));
            let (bfd, done) = (if is_flush { Vec::new() } else { dpu.bfd() }, dpu.done.len());
            perform(&mut dpu, &mut oracle, act);
            goes_down_without_bfd(&dpu, &oracle, &bfd, done);
            for scope in dpu.asic.scopes.values() {
                prop_assert!(dpu.asic.sets.contains_key(&scope.ha_set_id), "P5: a scope without its set");
            }
        }
        // Faults stop.
        dpu.asic.failures.clear();
        dpu.release_local();
        for place in [Place::Local, Place::Remote] {
            perform(&mut dpu, &mut oracle, Act::Lose(place, false));
        }
        dpu.pass_ms(crate::calls::RETRY_MS_MAX + crate::approval::HOLD_MS);
        dpu.pass_ms(crate::calls::RETRY_MS_MAX + crate::approval::HOLD_MS);
        prop_assert_eq!(dpu.bfd(), expected_bfd(&dpu, &oracle), "P4");
        for (n, id) in SETS.iter().enumerate() {
            let has_set = oracle.sets.contains_key(&n);
            prop_assert_eq!(dpu.orch.sets.get(&set_id(id)).is_some_and(|set| set.object.is_some()), has_set);
            let has_scope = oracle.scopes.get(&n).is_some_and(|(_, _, set)| oracle.sets.contains_key(set));
            prop_assert_eq!(scope_oid(&dpu, n).is_some(), has_scope);
            prop_assert_eq!(dpu.scope_state(id).is_some(), has_scope);
        }
        // P6: time, a new read of everything, and every row again.
        dpu.done.clear();
        let (local, state, results) = (
            dpu.snapshot(Place::Local, Db::StateDb),
            dpu.snapshot(Place::Remote, Db::DpuStateDb),
            dpu.snapshot(Place::Remote, Db::DpuApplStateDb),
        );
        dpu.step(vec![local, state, results, Input::Unsynced, Input::Synced]);
        dpu.pass_ms(3_600_000);
        prop_assert_eq!(&dpu.done, &[]);
        prop_assert_eq!(dpu.orch.next_deadline(), None);
        let json = serde_json::to_string(&dpu.orch).unwrap();
        prop_assert_eq!(serde_json::from_str::<HaOrch>(&json).unwrap(), dpu.orch);
    }
}
