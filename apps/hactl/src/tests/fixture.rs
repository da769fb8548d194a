//! A pair of SmartSwitches at rest, as their databases hold it.

use std::collections::BTreeSet;
use std::time::Duration;

use invariants::{DpuSnapshot, Expected, Rows, Snapshot, SwitchSnapshot};
use schema::appl_db::{HaScopeConfig, HaScopeConfigKey, HaSetConfig};
use schema::{
    Db, DesiredHaState, Fields, HaOwner, HaScopeId, HaScopeKind, HaSetId, Slot, Table, VdpuId, WallMs,
};
use snapshot::{DatabaseRead, Reading};

/// When the reading is made: 2023-11-14 22:30:00 UTC.
pub const READ_MS: i64 = 1_700_001_000_000;

/// `place TABLE key name=value…`; `{o}` is the switch, `{p}` its peer. Blanks within a value are `~`.
const ROWS: &str = "
npu DPU switch{o}_dpu0 dpu_id=0 pa_ipv4=18.0.20{o}.1 midplane_ipv4=169.254.200.1
npu REMOTE_DPU switch{p}_dpu0 dpu_id=0 pa_ipv4=18.0.20{p}.1 npu_ipv4=10.1.{p}.32
npu VDPU vdpu{o}_0 main_dpu_ids=switch{o}_dpu0
npu VDPU vdpu{p}_0 main_dpu_ids=switch{p}_dpu0
npu LOOPBACK_INTERFACE Loopback0|10.1.{o}.32/32 NULL=NULL
npu DASH_HA_GLOBAL_CONFIG GLOBAL dpu_vnet=Vnet_55
npu VNET_ROUTE_TUNNEL_TABLE Vnet_55:3.2.1.0 endpoint=18.0.200.1,10.1.1.32 endpoint_monitor=18.0.200.1,18.0.201.1
npu DPU_STATE DPU0 dpu_midplane_link_state=up dpu_control_plane_state=up dpu_data_plane_state=up boot_id=b00t dpu_midplane_link_time=Tue~Nov~14~10:13:20~PM~UTC~2023 dpu_control_plane_time=Tue~Nov~14~10:13:25~PM~UTC~2023
npu DPU_RESET_INFO DPU0 reset_status=false dpu_ready=true incarnation=1700000005000 boot_id=b00t timestamp=1699999990000
npu DASH_HA_SCOPE_FENCE vdpu{o}_0|haset0 incarnation=1700000005000 config_digest=d
npu DASH_HA_SCOPE_STATE vdpu{o}_0|haset0 version=1 local_ha_state={state} local_acked_asic_ha_state={state} incarnation=1700000005000
dpu DASH_HA_SET_TABLE haset0 version=1 vip_v4=3.2.1.0 local_ip=18.0.20{o}.1 peer_ip=18.0.20{p}.1
dpu DASH_HA_SCOPE_TABLE haset0 version=1 ha_role={state} ha_set_id=haset0
dpu BFD_SESSION_TABLE default:default:10.1.0.32 local_addr=18.0.20{o}.1 type=passive multihop=true
dpu BFD_SESSION_TABLE default:default:10.1.1.32 local_addr=18.0.20{o}.1 type=passive multihop=true
dpu DASH_HA_SET_TABLE@result haset0 result=0
dpu DASH_HA_SCOPE_TABLE@result haset0 result=0
dpu DASH_HA_SCOPE_STATE_TABLE haset0 last_updated_time=1700000006 ha_role={state} ha_state={state} ha_state_start_time=1700000006 ha_term=1
dpu DASH_BFD_PROBE_STATE dash_ha v4_bfd_up_sessions=10.1.0.32,10.1.1.32
";

fn table(place: &str, name: &str) -> Table {
    let (name, db) = match name.strip_suffix("@result") {
        Some(name) => (name, Some(Db::DpuApplStateDb)),
        None => (name, None),
    };
    let mut tables = Table::ALL.iter().copied().filter(|table| table.name() == name);
    let of_a_dpu = place == "dpu";
    let here = |of: Db| db.map_or(Db::OF_A_DPU.contains(&of) == of_a_dpu, |db| of == db);
    tables.find(|table| here(table.db())).unwrap()
}

fn set_id() -> HaSetId {
    HaSetId::new("haset0").unwrap()
}

fn vdpu(switch: u8) -> VdpuId {
    VdpuId::new(format!("vdpu{switch}_0")).unwrap()
}

fn switch(own: u8) -> SwitchSnapshot {
    let (o, p) = (own.to_string(), (1 - own).to_string());
    let state = if own == 0 { "active" } else { "standby" };
    let text = ROWS.replace("{o}", &o).replace("{p}", &p).replace("{state}", state);
    let (mut npu, mut dpu) = (Rows::new(), Rows::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        let [place, name, key, fields @ ..] = words.as_slice() else { panic!("{line}") };
        let pair = |field: &&str| {
            let (name, value) = field.split_once('=').unwrap();
            (name.to_owned(), value.replace('~', " "))
        };
        let fields: Fields = fields.iter().map(pair).collect();
        let rows = if *place == "npu" { &mut npu } else { &mut dpu };
        rows.insert(table(place, name), *key, fields);
    }
    let set = HaSetConfig {
        version: "1".into(),
        vip_v4: Some([3, 2, 1, 0].into()),
        vip_v6: None,
        vdpu_ids: vec![vdpu(0), vdpu(1)],
        scope: HaScopeKind::Dpu,
        pinned_vdpu_bfd_probe_states: vec![],
        preferred_vdpu_ids: vec![vdpu(0)],
        preferred_standalone_vdpu_index: 0,
    };
    npu.put::<HaSetConfig>(&set_id(), &set);
    let scope = HaScopeConfig {
        version: "1".into(),
        disabled: false,
        owner: HaOwner::Dpu,
        ha_set_id: Some(set_id()),
        desired_ha_state: if own == 0 { DesiredHaState::Active } else { DesiredHaState::Unspecified },
        approved_pending_operation_ids: vec![],
    };
    npu.put::<HaScopeConfig>(&HaScopeConfigKey { vdpu: vdpu(own), scope: HaScopeId::from(set_id()) }, &scope);
    let dpus = vec![DpuSnapshot { slot: Slot(0), rows: dpu, unconsumed: BTreeSet::new(), local: None }];
    SwitchSnapshot { name: format!("switch{own}"), rows: npu, dpus }
}

/// What the fleet file wants.
pub fn expected() -> Expected {
    let mut expected = Expected::default();
    for own in [0, 1] {
        let name = format!("switch{own}");
        let key = HaScopeConfigKey { vdpu: vdpu(own), scope: HaScopeId::from(set_id()) };
        expected.sets.insert((name.clone(), set_id()));
        expected.scopes.insert((name, key));
    }
    expected
}

/// The pair, read in 9 ms.
pub fn healthy() -> Reading {
    let snapshot = Snapshot { switches: vec![switch(0), switch(1)] };
    let mut databases = Vec::new();
    for switch in ["switch0", "switch1"] {
        let host = [Db::ConfigDb, Db::ApplDb, Db::StateDb, Db::ChassisStateDb].map(|db| (None, db));
        let dpu = [Db::DpuApplDb, Db::DpuApplStateDb, Db::DpuStateDb].map(|db| (Some(Slot(0)), db));
        databases.extend(host.into_iter().chain(dpu).map(|(slot, db)| DatabaseRead {
            switch: switch.to_owned(),
            slot,
            db,
            began: WallMs(READ_MS),
            took: Duration::from_millis(9),
            rows: Ok(3),
        }));
    }
    Reading { snapshot, databases, ..Reading::default() }
}

/// Changes fields of a row of switch 0.
pub fn edit(reading: &mut Reading, table: Table, key: &str, fields: &[(&str, &str)]) {
    let switch = &mut reading.snapshot.switches[0];
    let on_the_npu = switch.rows.get(table, key).is_some();
    let rows = if on_the_npu { &mut switch.rows } else { &mut switch.dpus[0].rows };
    let mut row = rows.get(table, key).unwrap().clone();
    for (name, value) in fields {
        row.set(*name, *value);
    }
    rows.insert(table, key, row);
}

/// Empties the DPU's databases of switch 0, as a restart of its swss does.
pub fn flush(reading: &mut Reading) {
    let rows = &mut reading.snapshot.switches[0].dpus[0].rows;
    for table in Table::ALL.iter().filter(|table| Db::OF_A_DPU.contains(&table.db())) {
        rows.clear(*table);
    }
}

/// A database of switch 0's DPU that could not be read.
pub fn unread(reading: &mut Reading, db: Db) {
    for read in reading.databases.iter_mut().filter(|read| read.switch == "switch0" && read.db == db) {
        read.rows = Err("no answer".to_owned());
        reading.unread.add("switch0", read.slot, db);
    }
    for table in Table::ALL.iter().filter(|table| table.db() == db) {
        reading.snapshot.switches[0].dpus[0].rows.clear(*table);
    }
}
