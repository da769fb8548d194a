//! The devices: what runs on an NPU and on a DPU, in what order it starts, and how it goes down.
//!
//! The lab plays systemd, sysmonitor and the platform of each device; the NPU's swss is a model in a process of its own
//! (`npu-swss-model`). It makes no decision of the HA system.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use npu_model::NextHopRule;
use schema::state_db::SystemReady;
use schema::{Db, Fields, LinkState, Row, Table, WallMs};

use crate::files::{self, DPU_PORT, Dirs, database_config, database_global};
use crate::hardware::prioritized;
use crate::net::{Device, Link, NetError, Network};
use crate::process::{Places, ProcessError, Program, Registry, Spec, Unit};
use crate::redis::{Host, Redis, RedisError};
use crate::steps::BYSTANDERS;
use crate::topology::{CHASSIS_PORT, DpuId, REDIS_PORT, Topology, VIP_PORT, switch_name};

/// How long a daemon may take to say that it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a device does not run.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A daemon.
    #[error("a daemon does not run")]
    Process(#[from] ProcessError),
    /// A database.
    #[error("a database does not run")]
    Redis(#[from] RedisError),
    /// A write of the lab itself.
    #[error("the lab cannot write {key}")]
    Write {
        /// The Redis key.
        key: String,
        /// Why.
        #[source]
        source: swss::Error,
    },
    /// The network.
    #[error("the network does not do as it is told")]
    Network(#[from] NetError),
}

/// How hamgrd's rows travel to the DPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// Over ZMQ, as on a SmartSwitch
    Zmq,
    /// Through DPU_APPL_DB, as on a virtual switch
    Redis,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zmq => "zmq",
            Self::Redis => "redis",
        })
    }
}

/// What every device needs to know.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where things lie.
    pub dirs: Dirs,
    /// Where the daemons are.
    pub bin_dir: PathBuf,
    /// What `RUST_LOG` is for them.
    pub log_filter: String,
    /// How hamgrd's rows travel to the DPUs.
    pub transport: Transport,
    /// Which next hops the NPUs give a VIP.
    pub next_hop_rule: NextHopRule,
    /// The network that all devices are on.
    pub network: Network,
    /// Every unit that was started.
    pub registry: Registry,
}

impl Context {
    fn places(&self) -> Places {
        Places { logs: self.dirs.logs(), run: self.dirs.run(), registry: self.registry.clone() }
    }

    fn host(&self, device: Device) -> Host {
        Host { device, network: self.network.clone(), places: self.places() }
    }

    fn program(&self, binary: &str, args: impl IntoIterator<Item = String>) -> Program {
        Program { path: self.bin_dir.join(binary), args: args.into_iter().collect() }
    }

    fn program_on(&self, device: Device, binary: &str, args: impl IntoIterator<Item = String>) -> Program {
        self.network.on(device, self.program(binary, args))
    }

    fn daemon(&self, name: String, main: Program) -> Spec {
        let env = vec![("RUST_LOG".to_owned(), self.log_filter.clone())];
        Spec { name, before: None, main, notifies: true, restarts: true, env }
    }

    /// `--database-config` and `--database-global` for the device whose Redis directory this is.
    fn databases(redis_dir: &Path) -> Vec<String> {
        let text = |path: PathBuf| path.display().to_string();
        vec![
            "--database-config".to_owned(),
            text(database_config(redis_dir)),
            "--database-global".to_owned(),
            text(database_global(redis_dir)),
        ]
    }
}

/// The wall clock.
pub fn wall() -> WallMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// An NPU: its databases and its daemons.
#[derive(Debug)]
pub struct Npu {
    switch: u8,
    context: Context,
    config_rows: Vec<files::ConfigRow>,
    /// The host's Redis.
    pub redis: Redis,
    /// The chassis' Redis.
    pub chassis: Redis,
    /// One Redis per DPU, in slot order.
    pub dpu_redis: Vec<Redis>,
    /// The HA manager.
    pub hamgrd: Option<Unit>,
    /// The DPU state monitor.
    pub pmond: Option<Unit>,
    /// The model of its swss: routes, BFD sessions, packets for VIPs.
    pub swss: Option<Unit>,
    swss_args: Vec<String>,
}

impl Npu {
    /// An NPU on which nothing runs yet.
    pub fn new(switch: u8, topology: &Topology, context: &Context) -> Self {
        let (dirs, host) = (&context.dirs, context.host(Device::Npu(switch)));
        let name = switch_name(switch);
        let bridge = topology.midplane_bridge(switch);
        let own = format!("{name}-redis");
        let redis = Redis::new(own, dirs.npu(switch), topology.npu(switch), REDIS_PORT, &host);
        let chassis =
            Redis::new(format!("{name}-redis-chassis"), dirs.chassis(switch), bridge, CHASSIS_PORT, &host);
        let dpu_redis = topology
            .dpus_of(switch)
            .map(|dpu| {
                let server = format!("{name}-redis{}", dpu.slot.container());
                let port = Topology::dpu_redis_port(dpu);
                Redis::new(server, dirs.dpu_on_npu(dpu), bridge, port, &host)
            })
            .collect();
        Self {
            switch,
            context: context.clone(),
            config_rows: files::npu_config_rows(topology, switch),
            redis,
            chassis,
            dpu_redis,
            hamgrd: None,
            pmond: None,
            swss: None,
            swss_args: swss_args(switch, topology, context.next_hop_rule),
        }
    }

    /// Starts the databases, loads the configuration, then starts the daemons.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn start(&mut self) -> Result<(), DeviceError> {
        self.redis.start().await?;
        self.chassis.start().await?;
        for redis in &mut self.dpu_redis {
            redis.start().await?;
        }
        self.redis.load_config(&self.config_rows).await?;
        let (name, places) = (switch_name(self.switch), self.context.places());
        let databases = Context::databases(&self.context.dirs.npu(self.switch));
        let program = |binary, args| self.context.program_on(Device::Npu(self.switch), binary, args);

        let main = program("npu-swss-model", [databases.clone(), self.swss_args.clone()].concat());
        let swss = self.context.daemon(npu_swss_unit(self.switch), prioritized(main));
        self.swss = Some(Unit::start(swss, &places)?);

        let mut args = databases.clone();
        args.extend(
            ["--role", "npu", "--probe-interval-ms", "100", "--probe-fail-threshold", "3"].map(str::to_owned),
        );
        args.extend(["--midplane-probe".to_owned(), self.context.network.probe()]);
        let main = program("pmond", args);
        self.pmond = Some(Unit::start(self.context.daemon(format!("{name}-pmond"), main), &places)?);

        let mut args = databases;
        args.extend(["--heartbeat-ms", "1000"].map(str::to_owned));
        args.extend(["--transport".to_owned(), self.context.transport.to_string()]);
        let main = program("hamgrd", args);
        self.hamgrd = Some(Unit::start(self.context.daemon(format!("{name}-hamgrd"), main), &places)?);

        for unit in [&mut self.swss, &mut self.pmond, &mut self.hamgrd].into_iter().flatten() {
            unit.ready(READY_TIMEOUT).await?;
        }
        Ok(())
    }

    /// Writes the [`BYSTANDERS`] of a DPU.
    ///
    /// # Errors
    /// The DPU's database does not take one.
    pub async fn place_bystanders(&self, dpu: DpuId) -> Result<(), DeviceError> {
        let Some(redis) = self.dpu_redis.get(usize::from(dpu.slot.0)) else { return Ok(()) };
        for (db, key) in BYSTANDERS {
            let connection = redis.connect(db, READY_TIMEOUT).await?;
            let written = connection.hset(key, &Fields::placeholder()).await;
            written.map_err(|source| DeviceError::Write { key: key.to_owned(), source })?;
        }
        Ok(())
    }

    /// Starts a server again, empty. The host's configuration is loaded again, as `config-setup` does.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_server(&mut self, dpu: DpuId, which: WhichServer) -> Result<(), DeviceError> {
        let Some(server) = which(self, dpu) else { return Ok(()) };
        server.start().await?;
        let name = server.name().to_owned();
        if name == self.redis.name() {
            self.redis.load_config(&self.config_rows).await?;
        }
        Ok(())
    }

    /// Loses its power: everything that runs on it is killed at once.
    pub async fn kill(&mut self) {
        let daemons = [self.hamgrd.take(), self.pmond.take(), self.swss.take()];
        for unit in daemons.iter().flatten() {
            unit.signal(Signal::SIGKILL);
        }
        for unit in daemons.into_iter().flatten() {
            unit.stop(Signal::SIGKILL).await;
        }
        for redis in [&mut self.redis, &mut self.chassis].into_iter().chain(&mut self.dpu_redis) {
            redis.kill().await;
        }
    }

    /// Stops everything in order: daemons, then databases.
    pub async fn stop(&mut self) {
        for unit in [self.hamgrd.take(), self.pmond.take(), self.swss.take()].into_iter().flatten() {
            unit.stop(Signal::SIGTERM).await;
        }
        for redis in [&mut self.redis, &mut self.chassis].into_iter().chain(&mut self.dpu_redis) {
            redis.kill().await;
        }
    }
}

/// Chooses a server of an NPU, for a DPU of it.
pub type WhichServer = fn(&mut Npu, DpuId) -> Option<&mut Redis>;

/// What the model of an NPU's swss is told on its command line.
fn swss_args(switch: u8, topology: &Topology, rule: NextHopRule) -> Vec<String> {
    let mut args = vec!["--next-hop-rule".to_owned(), rule.to_string()];
    for source in topology.tunnel_sources(switch) {
        args.extend(["--tunnel-source".to_owned(), source.to_string()]);
        args.extend(vip_listen(source));
    }
    for uplink in
        topology.switches().filter(|other| *other != switch).flat_map(|other| topology.tunnel_sources(other))
    {
        args.extend(["--uplink".to_owned(), SocketAddr::new(uplink, VIP_PORT).to_string()]);
    }
    args
}

fn vip_listen(address: IpAddr) -> [String; 2] {
    ["--vip-listen".to_owned(), SocketAddr::new(address, VIP_PORT).to_string()]
}

/// A DPU: its own database and its daemons, all of which die with it.
#[derive(Debug)]
pub struct Dpu {
    /// Which.
    pub id: DpuId,
    context: Context,
    probe: SocketAddr,
    data_paths: Vec<IpAddr>,
    redis: Redis,
    /// haorchd, after dpu-dbclean.
    pub swss: Option<Unit>,
    /// The DPU state monitor.
    pub pmond: Option<Unit>,
    boots: u32,
    /// When the present life began.
    pub booted: Option<WallMs>,
}

impl Dpu {
    /// A DPU that is off.
    pub fn new(id: DpuId, topology: &Topology, context: &Context) -> Self {
        let name = format!("{}-{}-redis", id.switch_name(), id.slot.container());
        let (address, host) = (topology.midplane(id), context.host(Device::Dpu(id)));
        Self {
            id,
            context: context.clone(),
            probe: topology.probe(id),
            data_paths: topology.data_paths(id),
            redis: Redis::new(name, context.dirs.dpu(id), address, REDIS_PORT, &host),
            swss: None,
            pmond: None,
            boots: 0,
            booted: None,
        }
    }

    /// Boots: links, database, clean-up of its databases on the NPU, haorchd, ready, pmond.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn boot(&mut self) -> Result<(), DeviceError> {
        self.boots += 1;
        self.booted = Some(wall());
        let boot_id = uuid();
        self.context.network.power(self.id, LinkState::Up).await?;
        self.redis.start().await?;
        self.redis.load_config(&files::dpu_config_rows(self.id)).await?;
        self.port(LinkState::Up).await?;

        let (places, name) = (self.context.places(), self.id.switch_name());
        let name = format!("{name}-{}", self.id.slot.container());
        let databases = Context::databases(&self.context.dirs.dpu(self.id));
        let own_id = ["--dpu-id".to_owned(), self.id.slot.0.to_string()];
        let args = [databases.clone(), own_id.to_vec()].concat();
        let program = |binary, args| self.context.program_on(Device::Dpu(self.id), binary, args);
        let clean = program("dpu-dbclean", args.clone());
        let mut own = vec!["--asic".to_owned(), "model".to_owned()];
        own.extend(self.data_paths.iter().copied().flat_map(vip_listen));
        if self.context.transport == Transport::Zmq {
            own.extend(["-q".to_owned(), format!("tcp://{}", self.probe.ip())]);
        }
        let main = program("haorchd", [args.clone(), own].concat());
        let haorchd = self.context.daemon(haorchd_unit(self.id), prioritized(main));
        let spec = Spec { before: Some(clean), ..haorchd };
        self.swss.insert(Unit::start(spec, &places)?).ready(READY_TIMEOUT).await?;

        self.system_ready(LinkState::Up).await?;
        let role = ["--role".to_owned(), "dpu".to_owned(), "--boot-id".to_owned(), boot_id];
        let main = program("pmond", [args, role.to_vec()].concat());
        let pmond = Unit::start(self.context.daemon(format!("{name}-pmond"), main), &places)?;
        self.pmond.insert(pmond).ready(READY_TIMEOUT).await?;
        Ok(())
    }

    /// Loses its power: everything that runs on it is killed at once.
    pub async fn kill(&mut self) {
        // The links first: nothing that dies says farewell.
        self.power_off().await;
        // Signals first, so that all die in the same moment; then the waiting.
        for unit in [&self.swss, &self.pmond].into_iter().flatten() {
            unit.signal(Signal::SIGKILL);
        }
        for unit in [self.swss.take(), self.pmond.take()].into_iter().flatten() {
            unit.stop(Signal::SIGKILL).await;
        }
        self.redis.kill().await;
    }

    /// Shuts down in order: pmond and haorchd by SIGTERM, then the database, then the midplane.
    pub async fn shutdown(&mut self) {
        for unit in [self.pmond.take(), self.swss.take()].into_iter().flatten() {
            unit.stop(Signal::SIGTERM).await;
        }
        self.redis.kill().await;
        self.power_off().await;
    }

    async fn power_off(&self) {
        if let Err(error) = self.context.network.power(self.id, LinkState::Down).await {
            // Whatever it is, the processes die all the same.
            tracing::warn!(dpu = %self.id, %error, "links are not down");
        }
    }

    /// The link over which the NPU manages the DPU.
    ///
    /// # Errors
    /// It does not obey.
    pub async fn midplane(&self, state: LinkState) -> Result<(), DeviceError> {
        Ok(self.context.network.link(Link::Midplane(self.id), state).await?)
    }

    /// The link over which traffic and BFD reach the DPU, at the NPU's end; the DPU's port follows, as portsyncd tells it.
    ///
    /// # Errors
    /// It does not obey, or there is none.
    pub async fn front_panel(&self, state: LinkState) -> Result<(), DeviceError> {
        self.context.network.link(Link::FrontPanel(self.id), state).await?;
        self.port(state).await
    }

    /// What sysmonitor says of the DPU's services.
    ///
    /// # Errors
    /// The DPU's database does not take it.
    pub async fn system_ready(&self, state: LinkState) -> Result<(), DeviceError> {
        // sysmonitor spells it in capitals.
        let status: Fields = [("Status", state.as_str().to_uppercase())].into_iter().collect();
        let key = SystemReady::TABLE.redis_key("SYSTEM_STATE");
        self.write_own(Db::StateDb, &key, &status).await
    }

    /// The state of the DPU's port.
    ///
    /// # Errors
    /// The DPU's database does not take it.
    pub async fn port(&self, state: LinkState) -> Result<(), DeviceError> {
        let row: Fields = [("oper_status", state.as_str())].into_iter().collect();
        self.write_own(Db::ApplDb, &Table::PortTable.redis_key(DPU_PORT), &row).await
    }

    async fn write_own(&self, db: Db, key: &str, fields: &Fields) -> Result<(), DeviceError> {
        let connection = self.redis.connect(db, READY_TIMEOUT).await?;
        let written = connection.hset(key, fields).await;
        written.map_err(|source| DeviceError::Write { key: key.to_owned(), source })
    }
}

/// The name of the unit that is the model of an NPU's swss.
pub fn npu_swss_unit(switch: u8) -> String {
    format!("{}-swss", switch_name(switch))
}

/// The name of the unit that is a DPU's swss.
pub fn haorchd_unit(dpu: DpuId) -> String {
    format!("{}-{}-haorchd", dpu.switch_name(), dpu.slot.container())
}

/// A new boot id, as the kernel makes them.
fn uuid() -> String {
    let path = "/proc/sys/kernel/random/uuid";
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let text = text.trim();
    if text.is_empty() { format!("boot-{}", wall()) } else { text.to_owned() }
}

/// Starts the SDN controller.
///
/// # Errors
/// It does not start.
pub fn controller(context: &Context) -> Result<Unit, DeviceError> {
    let text = |path: PathBuf| path.display().to_string();
    let args =
        ["--fleet".to_owned(), text(context.dirs.fleet()), "--store".to_owned(), text(context.dirs.store())];
    let main = context.program("ha-controller", args);
    Ok(Unit::start(context.daemon("ha-controller".to_owned(), main), &context.places())?)
}
