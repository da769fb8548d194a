//! Databases and tables by name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A SONiC logical database. Use the name to find it in `database_config.json`; the numeric id is the
/// configuration's business (`reference/swss-wire.md` 1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Db {
    /// Configuration of the host.
    ConfigDb,
    /// Intent of applications on the NPU.
    ApplDb,
    /// State of the host.
    StateDb,
    /// State of the chassis, reachable from the DPUs.
    ChassisStateDb,
    /// Intent for one DPU, hosted on the NPU.
    DpuApplDb,
    /// What the DPU made of its intent, hosted on the NPU.
    DpuApplStateDb,
    /// State of one DPU, hosted on the NPU.
    DpuStateDb,
    /// Counters of one DPU, hosted on the NPU.
    DpuCountersDb,
}

impl Db {
    /// The databases that live on the NPU for each DPU, in the order in which the boot clean-up empties them.
    pub const OF_A_DPU: [Db; 4] = [Db::DpuApplDb, Db::DpuStateDb, Db::DpuApplStateDb, Db::DpuCountersDb];

    /// The name in `database_config.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Db::ConfigDb => "CONFIG_DB",
            Db::ApplDb => "APPL_DB",
            Db::StateDb => "STATE_DB",
            Db::ChassisStateDb => "CHASSIS_STATE_DB",
            Db::DpuApplDb => "DPU_APPL_DB",
            Db::DpuApplStateDb => "DPU_APPL_STATE_DB",
            Db::DpuStateDb => "DPU_STATE_DB",
            Db::DpuCountersDb => "DPU_COUNTERS_DB",
        }
    }

    /// SONiC's number of it on its server, which a `database_config.json` may change (`reference/swss-wire.md` 1.6).
    pub const fn default_index(self) -> u32 {
        match self {
            Db::ApplDb => 0,
            Db::ConfigDb => 4,
            Db::StateDb => 6,
            Db::ChassisStateDb => 13,
            Db::DpuApplDb => 15,
            Db::DpuApplStateDb => 16,
            Db::DpuStateDb => 17,
            Db::DpuCountersDb => 18,
        }
    }

    /// What stands between table and key, and between the parts of a key.
    pub const fn separator(self) -> char {
        match self {
            Db::ApplDb | Db::DpuApplDb | Db::DpuCountersDb => ':',
            Db::ConfigDb | Db::StateDb | Db::ChassisStateDb | Db::DpuApplStateDb | Db::DpuStateDb => '|',
        }
    }
}

impl fmt::Display for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

macro_rules! tables {
    ($( $(#[$meta:meta])* $variant:ident = $db:ident $name:literal; )*) => {
        /// A table: a name within a database. The variant carries the database where one name is used in
        /// two of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Table {
            $( $(#[$meta])* $variant, )*
        }

        impl Table {
            /// Every table of the project.
            pub const ALL: &'static [Table] = &[$( Table::$variant, )*];

            /// The database that holds the table.
            pub const fn db(self) -> Db {
                match self { $( Table::$variant => Db::$db, )* }
            }

            /// The table's name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $( Table::$variant => $name, )* }
            }
        }
    };
}

tables! {
    /// The DPUs of this switch.
    Dpu = ConfigDb "DPU";
    /// The DPUs of the other switches of the cluster.
    RemoteDpu = ConfigDb "REMOTE_DPU";
    /// Virtual DPUs, the members of HA sets.
    Vdpu = ConfigDb "VDPU";
    /// Ports and timers common to all HA sets.
    DashHaGlobalConfig = ConfigDb "DASH_HA_GLOBAL_CONFIG";
    /// Addresses of the NPU.
    LoopbackInterface = ConfigDb "LOOPBACK_INTERFACE";
    /// Ports of a device; read on the DPU.
    Port = ConfigDb "PORT";

    /// HA sets as the SDN controller wants them.
    DashHaSetConfig = ApplDb "DASH_HA_SET_CONFIG_TABLE";
    /// HA scopes as the SDN controller wants them.
    DashHaScopeConfig = ApplDb "DASH_HA_SCOPE_CONFIG_TABLE";
    /// Where the NPU sends a VIP's traffic.
    VnetRouteTunnel = ApplDb "VNET_ROUTE_TUNNEL_TABLE";
    /// Neighbours the NPU shall resolve.
    NeighResolve = ApplDb "NEIGH_RESOLVE_TABLE";
    /// State of ports; read on the DPU.
    PortTable = ApplDb "PORT_TABLE";

    /// State of HA scopes as the SDN controller reads it.
    DashHaScopeState = StateDb "DASH_HA_SCOPE_STATE";
    /// Restarts of a DPU as the SDN controller reads them.
    DpuResetInfo = StateDb "DPU_RESET_INFO";
    /// What hamgrd applied and for which incarnation (DESIGN 5).
    DashHaScopeFence = StateDb "DASH_HA_SCOPE_FENCE";
    /// Midplane reachability of a DPU.
    ChassisMidplane = StateDb "CHASSIS_MIDPLANE_TABLE";
    /// Readiness of a device's services; read on the DPU.
    SystemReady = StateDb "SYSTEM_READY";
    /// Software BFD sessions of a DPU; in the DPU's own STATE_DB.
    BfdSoftwareSession = StateDb "BFD_SOFTWARE_SESSION_TABLE";
    /// BFD sessions of a DPU that are up; in the DPU's own STATE_DB.
    DpuBfdProbeState = StateDb "DPU_BFD_PROBE_STATE";
    /// BFD sessions of the NPU; in the NPU's STATE_DB.
    NpuBfdSession = StateDb "BFD_SESSION_TABLE";
    /// What the NPU made of `VNET_ROUTE_TUNNEL_TABLE`.
    VnetRouteTunnelState = StateDb "VNET_ROUTE_TUNNEL_TABLE";

    /// Health of a DPU as pmon sees it.
    DpuState = ChassisStateDb "DPU_STATE";

    /// HA sets for one DPU.
    DashHaSet = DpuApplDb "DASH_HA_SET_TABLE";
    /// HA scopes for one DPU.
    DashHaScope = DpuApplDb "DASH_HA_SCOPE_TABLE";
    /// BFD sessions for one DPU.
    BfdSession = DpuApplDb "BFD_SESSION_TABLE";

    /// Result of programming a HA set.
    DashHaSetResult = DpuApplStateDb "DASH_HA_SET_TABLE";
    /// Result of programming a HA scope.
    DashHaScopeResult = DpuApplStateDb "DASH_HA_SCOPE_TABLE";

    /// State of a HA set's data-plane channel.
    DpuDashHaSetState = DpuStateDb "DASH_HA_SET_STATE_TABLE";
    /// State of a HA scope on the DPU.
    DpuDashHaScopeState = DpuStateDb "DASH_HA_SCOPE_STATE_TABLE";
    /// BFD sessions of the DPU that are up.
    DashBfdProbeState = DpuStateDb "DASH_BFD_PROBE_STATE";
}

impl Table {
    /// The table of that name in that database.
    pub fn find(db: Db, name: &str) -> Option<Table> {
        Table::ALL.iter().copied().find(|table| table.db() == db && table.name() == name)
    }

    /// Fields that are a message to the reader and no state: they are said once, never kept and never said again
    /// unasked (`reference/swss-wire.md` 9.12 and 9.13).
    pub const fn one_shot_fields(self) -> &'static [&'static str] {
        if matches!(self, Table::DashHaScope) {
            &["activate_role_requested", "brainsplit_recovered", "flow_reconcile_requested"]
        } else {
            &[]
        }
    }

    /// The Redis key of a row: just the table's name where the row has no key (`reference/swss-wire.md` 2.1).
    pub fn redis_key(self, key: &str) -> String {
        if key.is_empty() {
            return self.name().to_owned();
        }
        format!("{}{}{key}", self.name(), self.db().separator())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
