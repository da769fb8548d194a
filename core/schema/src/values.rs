//! Enumerations of the field's terms. Written lower-case; read in any case, whole words only.

use serde::{Deserialize, Serialize};

use crate::codec::Scalar;

macro_rules! words {
    ($( $(#[$meta:meta])* $name:ident, $expected:literal { $( $(#[$variant_meta:meta])* $variant:ident = $text:literal, )* } )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $( $(#[$variant_meta])* $variant, )* }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [$name] = &[$( $name::$variant, )*];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $( $name::$variant => $text, )* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Scalar for $name {
            const EXPECTED: &'static str = $expected;
            fn to_text(&self) -> String {
                self.as_str().to_owned()
            }
            fn from_text(text: &str) -> Option<Self> {
                $name::ALL.iter().copied().find(|value| text.eq_ignore_ascii_case(value.as_str()))
            }
        }
    )*};
}

words! {
    /// The state of a link or plane. An absent field is unknown, which is neither.
    LinkState, "up or down" {
        /// Working.
        Up = "up",
        /// Known not to work.
        Down = "down",
    }

    /// Who drives the HA state machine.
    HaOwner, "dpu or switch" {
        /// Not said yet.
        Unspecified = "unspecified",
        /// DPU-driven.
        Dpu = "dpu",
        /// NPU-driven.
        Switch = "switch",
    }

    /// What a HA scope covers.
    HaScopeKind, "dpu or eni" {
        /// Not said.
        Unspecified = "unspecified",
        /// The whole DPU.
        Dpu = "dpu",
        /// One ENI.
        Eni = "eni",
    }

    /// What the SDN controller wants a HA scope to be.
    DesiredHaState, "unspecified, dead, active or standalone" {
        /// No preference: the standby side.
        Unspecified = "unspecified",
        /// Shut down.
        Dead = "dead",
        /// The preferred active side.
        Active = "active",
        /// Pinned standalone.
        Standalone = "standalone",
    }

    /// The role that the control plane asks of the ASIC, and that the ASIC reports (`SAI_DASH_HA_ROLE_*`).
    AsicHaRole, "dead, active, standby, standalone or switching_to_active" {
        /// Not in HA.
        Dead = "dead",
        /// Decides flows, syncs to the peer.
        Active = "active",
        /// Receives flow sync.
        Standby = "standby",
        /// Decides alone.
        Standalone = "standalone",
        /// On its way to active in a switchover.
        SwitchingToActive = "switching_to_active",
    }

    /// The state that the ASIC reports (`SAI_DASH_HA_STATE_*`, `reference/dpu-side.md` 5.2).
    AsicHaState, "the name of a HA state" {
        /// Off.
        Dead = "dead",
        /// Looking for the peer.
        Connecting = "connecting",
        /// Peer found.
        Connected = "connected",
        /// Will be active.
        InitializingToActive = "initializing_to_active",
        /// Will be standby.
        InitializingToStandby = "initializing_to_standby",
        /// Waits for approval.
        PendingStandaloneActivation = "pending_standalone_activation",
        /// Waits for approval.
        PendingActiveActivation = "pending_active_activation",
        /// Waits for approval.
        PendingStandbyActivation = "pending_standby_activation",
        /// Serves alone.
        Standalone = "standalone",
        /// Serves and syncs.
        Active = "active",
        /// Is synced.
        Standby = "standby",
        /// Going away in order.
        Destroying = "destroying",
        /// The peer goes away in order.
        SwitchingToStandalone = "switching_to_standalone",
    }

    /// What a pending operation would do once approved.
    OperationType, "the type of a pending operation" {
        /// Take the role that the state announces.
        ActivateRole = "activate_role",
        /// Reconcile flows with current policy.
        FlowReconcile = "flow_reconcile",
        /// Leave split brain.
        BrainsplitRecover = "brainsplit_recover",
        /// Planned switchover (NPU-driven).
        Switchover = "switchover",
    }

    /// An operator's override of a BFD probe's result.
    PinnedState, "none, up or down" {
        /// Follow BFD.
        None = "none",
        /// Treat as up.
        Up = "up",
        /// Treat as down.
        Down = "down",
    }

    /// The state of a BFD session as orchagent spells it (`reference/dpu-side.md` 2.1).
    BfdState, "Admin_Down, Down, Init or Up" {
        /// Held down by its administrator, or by the peer's.
        AdminDown = "Admin_Down",
        /// The peer is not heard.
        Down = "Down",
        /// The peer is heard, and does not hear us yet.
        Init = "Init",
        /// Both hear each other.
        Up = "Up",
    }

    /// Whether a VIP's traffic has a next hop, as orchagent says it (`reference/dpu-side.md` 3.5).
    RouteState, "active or inactive" {
        /// It has.
        Active = "active",
        /// It has none.
        Inactive = "inactive",
    }

    /// Whether pmon's auto-recovery has given a DPU up.
    RecoveryStatus, "recoverable or unrecoverable" {
        /// May come back.
        Recoverable = "recoverable",
        /// The reset limit is reached.
        Unrecoverable = "unrecoverable",
    }
}

impl AsicHaState {
    /// Whether the DPU answers traffic, and so BFD, in this state (`reference/dpu-side.md` 5.2). A survivor
    /// that is switching to standalone keeps serving: its peer's traffic moves to it at that moment.
    pub const fn serves(self) -> bool {
        match self {
            Self::Active | Self::Standby | Self::Standalone | Self::SwitchingToStandalone => true,
            Self::Dead
            | Self::Connecting
            | Self::Connected
            | Self::InitializingToActive
            | Self::InitializingToStandby
            | Self::PendingStandaloneActivation
            | Self::PendingActiveActivation
            | Self::PendingStandbyActivation
            | Self::Destroying => false,
        }
    }

    /// Whether this side decides flows: at most one side of a HA set may (P7).
    pub const fn decides(self) -> bool {
        match self {
            Self::Active | Self::Standalone | Self::SwitchingToStandalone => true,
            Self::Dead
            | Self::Connecting
            | Self::Connected
            | Self::InitializingToActive
            | Self::InitializingToStandby
            | Self::PendingStandaloneActivation
            | Self::PendingActiveActivation
            | Self::PendingStandbyActivation
            | Self::Standby
            | Self::Destroying => false,
        }
    }
}
