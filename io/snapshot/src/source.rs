//! Where the databases of a switch are.

use schema::{Db, Slot};
use swss::{Address, DatabaseConfig, Endpoint};

/// The databases of the NPU itself.
const OF_THE_NPU: [Db; 4] = [Db::ConfigDb, Db::ApplDb, Db::StateDb, Db::ChassisStateDb];
/// The databases of a DPU that are hosted on the NPU and hold rows of the project.
const OF_A_DPU: [Db; 3] = [Db::DpuApplDb, Db::DpuApplStateDb, Db::DpuStateDb];
/// TCP port of a device's own Redis (`reference/swss-wire.md` 1.6).
const OWN_REDIS_PORT: u16 = 6379;

/// A database, or why nobody knows where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// The database.
    pub db: Db,
    /// Where it is, or why that is not known.
    pub endpoint: Result<Endpoint, String>,
}

impl From<Endpoint> for Database {
    fn from(endpoint: Endpoint) -> Self {
        Self { db: endpoint.db, endpoint: Ok(endpoint) }
    }
}

/// Where a DPU's own `STATE_DB` is, which holds the BFD sessions that it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Local {
    /// It is not asked for: the DPU is off, or nobody wants to know.
    Unasked,
    /// There.
    At(Endpoint),
    /// At the midplane address that `CONFIG_DB` gives the DPU, with the number that `STATE_DB` has on the NPU.
    /// Where nothing answers, nothing is known of it, and nothing is amiss.
    OnMidplane,
}

/// The databases of a DPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dpu {
    /// Its slot.
    pub slot: Slot,
    /// Those that the NPU hosts.
    pub databases: Vec<Database>,
    /// Its own.
    pub local: Local,
}

/// The databases of a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// How findings name it.
    pub name: String,
    /// Those of the NPU.
    pub databases: Vec<Database>,
    /// Those of its DPUs, in slot order.
    pub dpus: Vec<Dpu>,
}

impl Switch {
    /// The databases that the switch's configuration files name: its own, and those of each container `dpuN`.
    pub fn of(name: &str, files: &DatabaseConfig) -> Self {
        let mut slots: Vec<Slot> =
            files.containers().iter().filter_map(|container| Slot::from_container(container)).collect();
        slots.sort_unstable();
        let dpu = |slot: Slot| Dpu {
            slot,
            databases: databases(files, &slot.container(), &OF_A_DPU),
            local: Local::OnMidplane,
        };
        Self {
            name: name.to_owned(),
            databases: databases(files, "", &OF_THE_NPU),
            dpus: slots.into_iter().map(dpu).collect(),
        }
    }

    /// A switch of which nobody knows where its databases are, and why. It has no DPUs that are known of.
    pub fn out_of_reach(name: &str, error: &dyn std::error::Error) -> Self {
        let database = |db| Database { db, endpoint: Err(chain(error)) };
        Self { name: name.to_owned(), databases: OF_THE_NPU.map(database).into(), dpus: Vec::new() }
    }

    /// Every database with its place, in reading order; those of the DPUs themselves are not among them.
    pub fn all(&self) -> impl Iterator<Item = (Option<Slot>, &Database)> {
        let of_dpus = self.dpus.iter().flat_map(|dpu| dpu.databases.iter().map(|db| (Some(dpu.slot), db)));
        self.databases.iter().map(|db| (None, db)).chain(of_dpus)
    }

    /// A DPU's own `STATE_DB`, if it answers at its midplane address.
    pub(crate) fn on_midplane(&self, address: std::net::Ipv4Addr) -> Option<Endpoint> {
        let ours = self.databases.iter().find(|database| database.db == Db::StateDb)?;
        let ours = ours.endpoint.as_ref().ok()?;
        let address = Address::Tcp { host: address.to_string(), port: OWN_REDIS_PORT };
        Some(Endpoint { address, ..ours.clone() })
    }
}

fn databases(files: &DatabaseConfig, container: &str, dbs: &[Db]) -> Vec<Database> {
    let database = |db: &Db| {
        let endpoint = files.endpoint(container, *db);
        Database { db: *db, endpoint: endpoint.map_err(|error| chain(&error)) }
    };
    dbs.iter().map(database).collect()
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
