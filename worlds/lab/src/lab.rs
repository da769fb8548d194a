//! The whole pair: brought up, watched, acted upon, audited, taken down.

mod faults;
mod traffic;
mod verdict;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use invariants::{Boots, Expected};
use nix::sys::signal::Signal;
use npu_model::NextHopRule;
use schema::{AsicHaState, HaScopeId, Slot, dpu_state_db};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::audit::{self, AuditError};
use crate::device::{self, Context, DeviceError, Dpu, Npu, Transport, WhichServer, wall};
use crate::files::{self, Dirs, Timing};
use crate::hardware::Hardware;
use crate::net::{Kind, NetError, Network};
use crate::process::{Registry, Unit};
use crate::session::{Chaos, Session};
use crate::sessions;
use crate::topology::{DpuId, Topology, TopologyError};
use crate::watch::{NeverTrue, Watch};
use crate::witness::WitnessError;
use crate::world::{Place, World};

/// How long the pair may take to be set up, or to be at rest again.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long all steps may take.
const STEPS_TIMEOUT: Duration = Duration::from_secs(60);
/// The time that the platform needs before a DPU begins to boot. No synchronization: hardware takes its time.
const BOOT_DELAY_MS: u64 = 1500;

/// Why a scenario cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// No room.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A device does not do as it is told.
    #[error("a device does not run")]
    Device(#[from] DeviceError),
    /// Something never became true.
    #[error(transparent)]
    Never(#[from] NeverTrue),
    /// A database does not answer.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The thread that stands for the network.
    #[error("no thread for the network")]
    Hardware(#[source] std::io::Error),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetError),
    /// The traffic witness.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// A file.
    #[error("cannot write below {}", .path.display())]
    File {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A binary is missing.
    #[error("there is no {} (use --bin-dir)", .0.display())]
    Binary(PathBuf),
    /// A DPU that the lab does not have, or that its own task lost.
    #[error("the lab has no {0}")]
    NoSuchDpu(DpuId),
}

impl LabError {
    /// 1 where the thing checked is not well, 3 where the lab lacks what it needs.
    pub fn exit_code(&self) -> u8 {
        match self {
            LabError::Never(_) | LabError::NoSuchDpu(_) => 1,
            LabError::Device(_)
            | LabError::Audit(_)
            | LabError::Topology(_)
            | LabError::Hardware(_)
            | LabError::Network(_)
            | LabError::Witness(_)
            | LabError::File { .. }
            | LabError::Binary(_) => 3,
        }
    }
}

/// How a lab is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// On what kind of network.
    pub network: Kind,
    /// DPUs per switch.
    pub dpus: u8,
    /// IPv6 addresses too.
    pub ipv6: bool,
    /// Where everything lies.
    pub dir: PathBuf,
    /// Where the daemons are.
    pub bin_dir: PathBuf,
    /// `RUST_LOG` of the daemons.
    pub log_filter: String,
    /// How hamgrd's rows travel to the DPUs.
    pub transport: Transport,
    /// Which next hops the NPUs give a VIP.
    pub next_hop_rule: NextHopRule,
    /// What varies from run to run.
    pub seed: u64,
    /// The controller's debounce.
    pub timing: Timing,
}

/// The binaries that a lab needs.
const BINARIES: [&str; 6] = ["hamgrd", "haorchd", "dpu-dbclean", "pmond", "ha-controller", "npu-swss-model"];

/// What an episode may leave behind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// P8 is not decidable: a database of the NPU itself was lost.
    pub not_local: bool,
    /// No configuration may have gone: the procedure must not run.
    pub no_procedure: bool,
}

/// A running pair.
#[derive(Debug)]
pub struct Lab {
    /// Its shape.
    pub topology: Arc<Topology>,
    context: Context,
    options: Options,
    /// The NPUs, in switch order.
    pub npus: Vec<Npu>,
    dpus: BTreeMap<DpuId, Dpu>,
    controller: Option<Unit>,
    watch: Watch,
    /// Where what stands for the network runs.
    hardware: Hardware,
    traffic: Option<traffic::Traffic>,
    /// What is going on.
    pub session: Session,
    expected: Expected,
    boots: Boots,
    random: u64,
}

impl Lab {
    /// Starts everything and waits until every HA set has an active and a standby side.
    ///
    /// # Errors
    /// Something does not start, or does not settle.
    pub async fn up(options: Options) -> Result<Self, LabError> {
        for binary in BINARIES {
            let path = options.bin_dir.join(binary);
            if !path.is_file() {
                return Err(LabError::Binary(path));
            }
        }
        let topology = Topology::new(options.network, options.dpus, options.ipv6)?;
        let hardware = Hardware::start().map_err(LabError::Hardware)?;
        let network = Network::up(&topology, &hardware)?;
        let dirs = Dirs::new(options.dir.clone());
        let failed = |source| LabError::File { path: options.dir.clone(), source };
        files::write_all(&dirs, &topology).map_err(failed)?;
        let fleet = files::fleet(&dirs, &topology, options.timing, &[]);
        files::write(&dirs.fleet(), &fleet).map_err(failed)?;

        let registry = Registry::default();
        let context = Context {
            dirs: dirs.clone(),
            bin_dir: options.bin_dir.clone(),
            log_filter: options.log_filter.clone(),
            transport: options.transport,
            next_hop_rule: options.next_hop_rule,
            network,
            registry: registry.clone(),
        };
        let npus = topology.switches().map(|switch| Npu::new(switch, &topology, &context)).collect();
        let dpus = topology.dpus().map(|id| (id, Dpu::new(id, &topology, &context))).collect();
        let watch = Watch::start(&dirs, &topology);
        let expected = topology.expected();
        let random = options.seed;
        let mut lab = Self {
            topology: Arc::new(topology),
            context,
            options,
            npus,
            dpus,
            controller: None,
            watch,
            hardware,
            traffic: None,
            session: Session::new(registry),
            expected,
            boots: Boots::new(),
            random,
        };
        lab.start().await?;
        Ok(lab)
    }

    async fn start(&mut self) -> Result<(), LabError> {
        let began = Instant::now();
        let shape = format!(
            "  {} switches with {} DPUs each, {}, {}",
            self.npus.len(),
            self.topology.dpus_per_switch(),
            self.context.network.describe(),
            self.options.dir.display()
        );
        self.session.printer.line(&shape);
        let Self { npus, watch, session, .. } = self;
        for npu in npus {
            watch.during(session, npu.start()).await?;
        }
        let all: Vec<DpuId> = self.topology.dpus().collect();
        self.boot(&all).await?;
        self.controller = Some(device::controller(&self.context)?);
        let what = "every HA set has an active and a standby side";
        let topology = &self.topology;
        let paired = |world: &World| {
            topology.dpus_of(0).all(|dpu| {
                let mut sides = [ha_state(world, dpu), ha_state(world, dpu.peer())];
                sides.sort();
                sides == [Some(AsicHaState::Active), Some(AsicHaState::Standby)]
            })
        };
        let check = |world: &World| paired(world).then_some(());
        self.watch.until(what, SETTLE_TIMEOUT, &mut self.session, check).await?;
        self.settle().await?;
        let ready =
            format!("  ready after {:.1} s: every HA set is active/standby", began.elapsed().as_secs_f64());
        self.session.printer.line(&ready);
        // Who gets there first may take the role of the one that was meant to: it decides, the other follows.
        for intended in self.topology.dpus_of(0) {
            let active = self.active(intended.slot);
            if active != intended {
                let line =
                    format!("  {}: active is {active}, where {intended} was intended", intended.ha_set());
                self.session.printer.line(&line);
            }
        }
        Ok(())
    }

    /// A number below `limit` from the seed.
    pub fn random(&mut self, limit: u64) -> u64 {
        // Knuth's multiplier; the high bits are the good ones.
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit.max(1)
    }

    /// Waits for what the databases should say.
    ///
    /// # Errors
    /// They do not, in time.
    pub async fn until(&mut self, what: &str, check: impl Fn(&World) -> bool) -> Result<(), NeverTrue> {
        let check = |world: &World| check(world).then_some(());
        self.watch.until(what, STEPS_TIMEOUT, &mut self.session, check).await
    }

    /// Lets time pass that the scenario itself is about.
    pub async fn pass(&mut self, time: Duration) {
        self.watch.for_a_while(time, &mut self.session).await;
    }

    /// What the databases say at this moment.
    pub fn world(&self) -> &World {
        self.watch.world()
    }

    /// The time that the platform needs before a DPU begins to boot.
    pub async fn boot_delay(&mut self) {
        let delay = BOOT_DELAY_MS + self.random(500);
        self.pass(Duration::from_millis(delay)).await;
    }

    /// The DPU.
    ///
    /// # Errors
    /// The lab has none of that id.
    pub fn dpu(&mut self, id: DpuId) -> Result<&mut Dpu, LabError> {
        self.dpus.get_mut(&id).ok_or(LabError::NoSuchDpu(id))
    }

    /// Boots DPUs at once.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn boot(&mut self, ids: &[DpuId]) -> Result<(), LabError> {
        let mut booting = JoinSet::new();
        for id in ids {
            let mut dpu = self.dpus.remove(id).ok_or(LabError::NoSuchDpu(*id))?;
            booting.spawn(async move {
                let booted = dpu.boot().await;
                (dpu, booted)
            });
        }
        while let Some(done) = self.watch.during(&mut self.session, booting.join_next()).await {
            let Ok((dpu, booted)) = done else { continue };
            let id = dpu.id;
            if let Some(at) = dpu.booted {
                self.boots.insert((id.switch_name(), id.slot), at);
            }
            self.dpus.insert(id, dpu);
            booted?;
        }
        Ok(())
    }

    /// Cuts the power of DPUs at once.
    ///
    /// # Errors
    /// The lab has no such DPU.
    pub async fn kill(&mut self, ids: &[DpuId]) -> Result<(), LabError> {
        for id in ids {
            let Self { dpus, watch, session, .. } = self;
            let dpu = dpus.get_mut(id).ok_or(LabError::NoSuchDpu(*id))?;
            watch.during(session, dpu.kill()).await;
        }
        Ok(())
    }

    /// Shuts a DPU down in order.
    ///
    /// # Errors
    /// The lab has no such DPU.
    pub async fn shutdown(&mut self, id: DpuId) -> Result<(), LabError> {
        let Self { dpus, watch, session, .. } = self;
        let dpu = dpus.get_mut(&id).ok_or(LabError::NoSuchDpu(id))?;
        watch.during(session, dpu.shutdown()).await;
        Ok(())
    }

    /// Waits until the steps of the DPU that are expected have been seen up to `last`.
    ///
    /// # Errors
    /// They are not, in time.
    pub async fn until_steps(&mut self, target: DpuId, last: u8) -> Result<(), NeverTrue> {
        let missing = |session: &Session| -> Vec<u8> {
            let trackers = session.trackers.iter().filter(|tracker| tracker.target() == target);
            trackers.flat_map(|tracker| tracker.missing()).filter(|step| *step <= last).collect()
        };
        let began = Instant::now();
        loop {
            let open = missing(&self.session);
            if open.is_empty() {
                return Ok(());
            }
            let what = format!("steps up to {last} of {target} are seen; missing {open:?}");
            if began.elapsed() > STEPS_TIMEOUT {
                return Err(self.watch.never(&what, began));
            }
            // The trackers hear of everything first; the wait only has to look again.
            if !self.watch.once(Duration::from_secs(1), &mut self.session).await {
                self.session.progress(&what, began);
            }
        }
    }

    /// kill -9 of a Redis server of the DPU's switch.
    ///
    /// # Errors
    /// The lab has no such server.
    pub async fn kill_server(&mut self, dpu: DpuId, which: WhichServer) -> Result<(), LabError> {
        let Self { npus, watch, session, .. } = self;
        let npu = npus.get_mut(usize::from(dpu.switch)).ok_or(LabError::NoSuchDpu(dpu))?;
        let server = which(npu, dpu).ok_or(LabError::NoSuchDpu(dpu))?;
        watch.during(session, server.kill()).await;
        Ok(())
    }

    /// Starts that server again, empty; the host's gets its configuration back.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_server(&mut self, dpu: DpuId, which: WhichServer) -> Result<(), LabError> {
        let Self { npus, watch, session, .. } = self;
        let npu = npus.get_mut(usize::from(dpu.switch)).ok_or(LabError::NoSuchDpu(dpu))?;
        watch.during(session, npu.start_server(dpu, which)).await?;
        Ok(())
    }

    /// Says that a life of the DPU's swss begins now, though the DPU itself did not boot.
    pub fn new_life(&mut self, id: DpuId) {
        self.boots.insert((id.switch_name(), id.slot), wall());
    }

    /// Writes the fleet file anew, with the vDPUs of `off` administratively down, and tells the controller.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn fleet(&mut self, off: &[DpuId]) -> Result<(), LabError> {
        let dirs = &self.context.dirs;
        let text = files::fleet(dirs, &self.topology, self.options.timing, off);
        let failed = |source| LabError::File { path: dirs.root().to_owned(), source };
        files::write(&dirs.fleet(), &text).map_err(failed)?;
        if let Some(controller) = &self.controller {
            controller.signal(Signal::SIGHUP);
        }
        Ok(())
    }

    /// The side of that HA set that is active now, else the intended one.
    pub fn active(&self, slot: Slot) -> DpuId {
        let intended = DpuId { switch: 0, slot };
        let sides = [intended, intended.peer()];
        let active =
            sides.into_iter().find(|dpu| ha_state(self.world(), *dpu).is_some_and(AsicHaState::decides));
        active.unwrap_or(intended)
    }

    /// Waits until the snapshot has no findings, every BFD session is up on both sides, and every VIP's traffic goes to
    /// its primary.
    ///
    /// # Errors
    /// It has, for too long; the error names them.
    pub async fn settle(&mut self) -> Result<(), NeverTrue> {
        let (topology, expected, boots) = (&self.topology, &self.expected, &self.boots);
        let look = |world: &World| -> Vec<String> {
            let findings = audit::findings(&world.snapshot(topology), expected, boots);
            findings.iter().map(ToString::to_string).chain(sessions::open(world, topology)).collect()
        };
        let check = |world: &World| look(world).is_empty().then_some(());
        let what = "the fixed point of the configuration is reached";
        let settled = self.watch.until(what, SETTLE_TIMEOUT, &mut self.session, check).await;
        settled.map_err(|never| {
            let open = look(self.watch.world()).join("\n  ");
            NeverTrue { what: format!("{}; open:\n  {open}", never.what), ..never }
        })
    }

    /// An episode begins: from now on the steps of `targets` are followed, and packets flow to every VIP through every switch.
    ///
    /// # Errors
    /// A database does not take the rows that the DPU shall lose, or a VIP is not answered.
    pub async fn begin(
        &mut self,
        title: &str,
        targets: &[DpuId],
        steps: &[u8],
        chaos: Option<&Chaos>,
    ) -> Result<(), LabError> {
        self.session.printer.line(&format!("\n{title}"));
        for target in targets {
            let Self { npus, watch, session, .. } = self;
            let npu = npus.get(usize::from(target.switch)).ok_or(LabError::NoSuchDpu(*target))?;
            watch.during(session, npu.place_bystanders(*target)).await?;
        }
        let before = self.world().snapshot(&self.topology);
        self.begin_traffic().await?;
        self.session.begin(targets, steps, before, chaos);
        Ok(())
    }

    /// Stops everything in order.
    pub async fn down(mut self) {
        if let Some(controller) = self.controller.take() {
            controller.stop(Signal::SIGTERM).await;
        }
        for dpu in self.dpus.values_mut() {
            dpu.shutdown().await;
        }
        for npu in &mut self.npus {
            npu.stop().await;
        }
    }
}

/// The state that a DPU reports for the scope of its HA set.
pub fn ha_state(world: &World, dpu: DpuId) -> Option<AsicHaState> {
    let scope = HaScopeId::new(dpu.ha_set())?;
    world.row::<dpu_state_db::HaScopeState>(Place::OnNpu(dpu), &scope)?.ha_state
}
