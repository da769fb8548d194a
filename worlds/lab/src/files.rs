//! The files and configuration rows that SONiC itself would have made: `database_config.json`,
//! `database_global.json`, the fleet file, and `CONFIG_DB`.

use std::path::{Path, PathBuf};

use schema::config_db::{Dpu, Global, HaGlobalConfig, LoopbackInterface, LoopbackKey, RemoteDpu, Vdpu};
use schema::{Db, Fields, Row};
use serde_json::{Value, json};

use crate::topology::{
    CHASSIS_PORT, CP_CHANNEL_PORT, DP_CHANNEL_PORT, DpuId, REDIS_PORT, Topology, switch_name,
};

/// Between two BFD packets, in milliseconds, as the HA design has it.
pub const BFD_INTERVAL_MS: u32 = 100;
/// How many of a DPU's BFD packets an NPU may miss, as the HA design has it.
pub const BFD_MULTIPLIER: u32 = 3;
/// Between two probes of a DPU to its peer. Three missed ones are a lost peer, so that a DPU takes over 300 ms after it last
/// heard its peer at most: by the time that BFD has moved the traffic to it.
const DP_PROBE_INTERVAL_MS: u32 = 75;

/// Where everything of a lab lies on disk.
#[derive(Clone, Debug)]
pub struct Dirs {
    root: PathBuf,
}

impl Dirs {
    /// A lab below that directory.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Log files.
    pub fn logs(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Sockets on which daemons say that they are ready.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The fleet file.
    pub fn fleet(&self) -> PathBuf {
        self.root.join("fleet.toml")
    }

    /// The controller's store.
    pub fn store(&self) -> PathBuf {
        self.root.join("controller.redb")
    }

    fn switch(&self, switch: u8) -> PathBuf {
        self.root.join(switch_name(switch))
    }

    /// `/var/run/redis` of an NPU.
    pub fn npu(&self, switch: u8) -> PathBuf {
        self.switch(switch).join("redis")
    }

    /// `/var/run/redis-chassis` of an NPU.
    pub fn chassis(&self, switch: u8) -> PathBuf {
        self.switch(switch).join("redis-chassis")
    }

    /// `/var/run/redisdpuN` of an NPU.
    pub fn dpu_on_npu(&self, dpu: DpuId) -> PathBuf {
        self.switch(dpu.switch).join(format!("redisdpu{}", dpu.slot.0))
    }

    /// `/var/run/redis` of a DPU itself.
    pub fn dpu(&self, dpu: DpuId) -> PathBuf {
        self.switch(dpu.switch).join(format!("dpu{}", dpu.slot.0)).join("redis")
    }
}

/// The socket of the Redis whose directory this is.
pub fn socket(dir: &Path) -> PathBuf {
    dir.join("redis.sock")
}

/// `database_config.json` of the device whose Redis directory this is.
pub fn database_config(dir: &Path) -> PathBuf {
    dir.join("sonic-db").join("database_config.json")
}

/// `database_global.json` of that device. On a switch with one DPU it does not exist.
pub fn database_global(dir: &Path) -> PathBuf {
    dir.join("sonic-db").join("database_global.json")
}

/// Writes all files of all devices.
///
/// # Errors
/// A file cannot be written.
pub fn write_all(dirs: &Dirs, topology: &Topology) -> std::io::Result<()> {
    for dir in [dirs.logs(), dirs.run()] {
        std::fs::create_dir_all(dir)?;
    }
    for switch in topology.switches() {
        write_json(&database_config(&dirs.npu(switch)), &npu_config(dirs, topology, switch))?;
        std::fs::create_dir_all(dirs.chassis(switch))?;
        for dpu in topology.dpus_of(switch) {
            write_json(&database_config(&dirs.dpu_on_npu(dpu)), &dpu_container_config(dirs, topology, dpu))?;
            write_json(&database_config(&dirs.dpu(dpu)), &dpu_config(dirs, topology, dpu))?;
        }
        // SONiC writes the global file only where it has more than one DPU.
        if topology.dpus_per_switch() > 1 {
            write_json(&database_global(&dirs.npu(switch)), &global_config(topology, switch))?;
        }
    }
    Ok(())
}

fn write_json(path: &Path, value: &Value) -> std::io::Result<()> {
    write(path, &format!("{value:#}\n"))
}

/// Writes a file so that no reader ever sees half of it.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let new = path.with_extension("tmp");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)
}

fn database(db: Db, instance: &str) -> (String, Value) {
    let index = db.default_index();
    (db.name().to_owned(), json!({"id": index, "separator": db.separator(), "instance": instance}))
}

fn databases(list: &[(Db, &str)]) -> Value {
    Value::Object(list.iter().map(|(db, instance)| database(*db, instance)).collect())
}

const HOST_DBS: [(Db, &str); 3] = [(Db::ApplDb, "redis"), (Db::ConfigDb, "redis"), (Db::StateDb, "redis")];
const CHASSIS_DB: (Db, &str) = (Db::ChassisStateDb, "redis_chassis");

fn npu_config(dirs: &Dirs, topology: &Topology, switch: u8) -> Value {
    json!({
        "INSTANCES": {
            "redis": {
                "hostname": topology.npu(switch), "port": REDIS_PORT,
                "unix_socket_path": socket(&dirs.npu(switch)), "persistence_for_warm_boot": "yes",
            },
            "redis_chassis": {
                "hostname": topology.midplane_bridge(switch), "port": CHASSIS_PORT,
                "unix_socket_path": socket(&dirs.chassis(switch)), "persistence_for_warm_boot": "yes",
            },
        },
        "DATABASES": databases(&[&HOST_DBS[..], &[CHASSIS_DB]].concat()),
        "VERSION": "1.0",
    })
}

fn dpu_dbs(instance: &'static str) -> Vec<(Db, &'static str)> {
    Db::OF_A_DPU.into_iter().map(|db| (db, instance)).collect()
}

/// The container `dpuN` on the NPU.
fn dpu_container_config(dirs: &Dirs, topology: &Topology, dpu: DpuId) -> Value {
    json!({
        "INSTANCES": {
            "redis": {
                "hostname": topology.midplane_bridge(dpu.switch), "port": Topology::dpu_redis_port(dpu),
                "unix_socket_path": socket(&dirs.dpu_on_npu(dpu)),
                "persistence_for_warm_boot": "yes", "database_type": "dpudb",
            },
            "redis_chassis": {
                "hostname": topology.midplane_bridge(dpu.switch), "port": CHASSIS_PORT,
                "unix_socket_path": socket(&dirs.chassis(dpu.switch)), "persistence_for_warm_boot": "yes",
            },
        },
        "DATABASES": databases(&[&HOST_DBS[..], &dpu_dbs("redis"), &[CHASSIS_DB]].concat()),
        "VERSION": "1.0",
    })
}

/// The DPU itself: its own Redis, and two on the NPU by TCP.
fn dpu_config(dirs: &Dirs, topology: &Topology, dpu: DpuId) -> Value {
    json!({
        "INSTANCES": {
            "redis": {
                "hostname": topology.midplane(dpu), "port": REDIS_PORT,
                "unix_socket_path": socket(&dirs.dpu(dpu)), "persistence_for_warm_boot": "yes",
            },
            "redis_chassis": { "hostname": topology.midplane_bridge(dpu.switch), "port": CHASSIS_PORT },
            "remote_redis": {
                "hostname": topology.midplane_bridge(dpu.switch), "port": Topology::dpu_redis_port(dpu),
                "unix_socket_path": "",
            },
        },
        "DATABASES": databases(&[&HOST_DBS[..], &dpu_dbs("remote_redis"), &[CHASSIS_DB]].concat()),
        "VERSION": "1.0",
    })
}

fn global_config(topology: &Topology, switch: u8) -> Value {
    let mut includes = vec![json!({"include": "../../redis/sonic-db/database_config.json"})];
    includes.extend(topology.dpus_of(switch).map(|dpu| {
        let container = dpu.slot.container();
        json!({
            "container_name": container,
            "include": format!("../../redis{container}/sonic-db/database_config.json"),
        })
    }));
    json!({"INCLUDES": includes, "VERSION": "1.0"})
}

/// What the controller waits before it believes a change, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// `down_debounce_ms` of the fleet file.
    pub down_debounce_ms: u64,
    /// `up_debounce_ms` of the fleet file.
    pub up_debounce_ms: u64,
}

/// The fleet file. vDPUs of `off` are administratively down.
pub fn fleet(dirs: &Dirs, topology: &Topology, timing: Timing, off: &[DpuId]) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "[timing]\ndown_debounce_ms = {}\nup_debounce_ms = {}\n",
        timing.down_debounce_ms, timing.up_debounce_ms
    );
    let mut add = |lines: std::fmt::Arguments<'_>| {
        // Writing into a String cannot fail.
        text.write_fmt(lines).unwrap_or_default();
    };
    for switch in topology.switches() {
        let dir = dirs.npu(switch);
        add(format_args!(
            "\n[[switch]]\nname = {:?}\ndatabase_config = {:?}\n",
            switch_name(switch),
            database_config(&dir)
        ));
        if topology.dpus_per_switch() > 1 {
            add(format_args!("database_global = {:?}\n", database_global(&dir)));
        }
    }
    for dpu in topology.dpus() {
        let admin = if off.contains(&dpu) { "down" } else { "up" };
        add(format_args!(
            "\n[[vdpu]]\nid = {:?}\nswitch = {:?}\nslot = {}\nadmin = {admin:?}\n",
            dpu.vdpu(),
            dpu.switch_name(),
            dpu.slot.0
        ));
    }
    for dpu in topology.dpus_of(0) {
        let (set, vip) = (dpu.ha_set(), topology.vip(dpu.slot));
        add(format_args!("\n[[ha_set]]\nid = {set:?}\nvip_v4 = \"{vip}\"\n"));
        if topology.has_ipv6() {
            add(format_args!("vip_v6 = \"{}\"\n", topology.vip_v6(dpu.slot)));
        }
        let (first, second) = (dpu.vdpu(), dpu.peer().vdpu());
        add(format_args!("vdpus = [{first:?}, {second:?}]\nactive = {first:?}\n"));
    }
    text
}

/// A row of `CONFIG_DB` as it is written.
pub type ConfigRow = (String, Fields);

fn of<R: Row>(key: &R::Key, row: &R) -> ConfigRow {
    (R::TABLE.redis_key(&R::key_text(key)), row.to_fields())
}

fn metadata(hostname: &str, fields: &[(&str, &str)]) -> ConfigRow {
    let mut row: Fields = fields.iter().copied().collect();
    row.set("hostname", hostname);
    ("DEVICE_METADATA|localhost".to_owned(), row)
}

/// `CONFIG_DB` of an NPU.
pub fn npu_config_rows(topology: &Topology, switch: u8) -> Vec<ConfigRow> {
    let name = switch_name(switch);
    let mut rows = vec![metadata(
        &name,
        &[("type", "LeafRouter"), ("subtype", "SmartSwitch"), ("region", "lab"), ("cluster", "pair")],
    )];
    let interface = "Loopback0".to_owned();
    let mut addresses = vec![(topology.npu(switch).into(), 32)];
    addresses.extend(topology.has_ipv6().then(|| (topology.npu_v6(switch).into(), 128)));
    rows.push(of(&LoopbackKey { interface: interface.clone(), address: None }, &LoopbackInterface {}));
    for address in addresses {
        let key = LoopbackKey { interface: interface.clone(), address: Some(address) };
        rows.push(of(&key, &LoopbackInterface {}));
    }
    for dpu in topology.dpus() {
        let (Some(name), Some(vdpu)) = (Topology::dpu_name(dpu), schema::VdpuId::new(dpu.vdpu())) else {
            continue;
        };
        if dpu.switch == switch {
            rows.push(of(&name, &local_dpu(topology, dpu)));
        } else {
            rows.push(of(&name, &remote_dpu(topology, dpu)));
        }
        rows.push(of(&vdpu, &Vdpu { main_dpu_ids: vec![name] }));
    }
    rows.push(of(
        &Global,
        &HaGlobalConfig {
            cp_data_channel_port: Some(CP_CHANNEL_PORT),
            dp_channel_dst_port: Some(DP_CHANNEL_PORT),
            dp_channel_src_port_min: Some(49152),
            dp_channel_src_port_max: Some(53247),
            dp_channel_probe_interval_ms: Some(DP_PROBE_INTERVAL_MS),
            dp_channel_probe_fail_threshold: Some(3),
            dpu_bfd_probe_interval_ms: Some(BFD_INTERVAL_MS),
            dpu_bfd_probe_multiplier: Some(BFD_MULTIPLIER),
            dpu_vnet: Some("Vnet_55".to_owned()),
            dpu_vlan: Some("Vlan55".to_owned()),
        },
    ));
    rows
}

fn local_dpu(topology: &Topology, dpu: DpuId) -> Dpu {
    Dpu {
        dpu_id: dpu.slot,
        pa_ipv4: Some(topology.data_path(dpu)),
        pa_ipv6: topology.has_ipv6().then(|| topology.data_path_v6(dpu)),
        midplane_ipv4: Some(topology.midplane(dpu)),
        orchagent_zmq_port: Some(8100),
        swbus_port: Some(23606 + u16::from(dpu.slot.0)),
        state: Some("up".to_owned()),
        vdpu_id: schema::VdpuId::new(dpu.vdpu()),
        vip_ipv4: None,
        vip_ipv6: None,
    }
}

fn remote_dpu(topology: &Topology, dpu: DpuId) -> RemoteDpu {
    RemoteDpu {
        dpu_id: Some(dpu.slot),
        pa_ipv4: Some(topology.data_path(dpu)),
        pa_ipv6: topology.has_ipv6().then(|| topology.data_path_v6(dpu)),
        npu_ipv4: Some(topology.npu(dpu.switch)),
        npu_ipv6: topology.has_ipv6().then(|| topology.npu_v6(dpu.switch)),
        swbus_port: Some(23606 + u16::from(dpu.slot.0)),
        kind: Some("cluster".to_owned()),
    }
}

/// The only port of a DPU.
pub const DPU_PORT: &str = "Ethernet0";

/// `CONFIG_DB` of a DPU.
pub fn dpu_config_rows(dpu: DpuId) -> Vec<ConfigRow> {
    let port: Fields = [("admin_status", "up"), ("alias", "etp1")].into_iter().collect();
    vec![
        metadata(&dpu.name(), &[("type", "SmartSwitchDPU"), ("switch_type", "dpu")]),
        (format!("PORT|{DPU_PORT}"), port),
    ]
}
