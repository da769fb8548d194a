//! Mutants: the daemons with one known mistake each, so that the simulator can prove that it notices.
//!
//! A mutant is a lens, not a switch: it stands between a part and the world and changes what the part is told or
//! what it says. The cores are the ones that ship; they know nothing of it.
//!
//! ```text
//!   readers, stores ─► lens ─► part (core) ─► lens ─► stores, ASIC
//! ```

mod controller;
mod hamgrd;
mod links;
mod others;

use std::collections::BTreeMap;
use std::fmt;

use invariants::Invariant;
use reconcile::{StoreUpdate, Time};
use schema::{Db, WallMs};

use crate::client::Update;
use crate::parts::{Extra, Out, Part, PortSpec};
use crate::topology::Proc;

pub use links::LinkLens;

/// A known mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// hamgrd does not notice that a DPU's database was emptied, and sends nothing again.
    FlushUnnoticed,
    /// hamgrd writes a HA set only once the HA scope that needs it was taken.
    ScopeBeforeSet,
    /// hamgrd leaves an approval in the scope's row after the DPU has acted on it.
    ApprovalReplayed,
    /// hamgrd creates each BFD session once in its life.
    BfdCreatedOnce,
    /// hamgrd takes a DPU whose state it cannot read for one that is down.
    UnknownIsDown,
    /// The controller takes a DPU whose state it cannot read for one that is down.
    UnknownIsDownToTheController,
    /// hamgrd takes every configuration for one of the present life.
    FenceIgnored,
    /// The controller forgets how often it programmed a DPU: every configuration has version 1.
    EpochForgotten,
    /// The controller tells both DPUs of a HA set to be active.
    BothActive,
    /// The controller approves whatever is asked.
    ApprovedBlindly,
    /// hamgrd does not hear what changed in `APPL_DB` while it was not connected.
    GapUnread,
    /// haorchd leaves BFD sessions behind when the scope stops serving.
    BfdOutlivesService,
    /// haorchd gives a scope its role before the BFD sessions are withdrawn.
    RoleBeforeBfd,
    /// pmond writes a DPU's state with every probe.
    RestlessProbe,
    /// hamgrd's ZMQ producer does not send again what it sent on an earlier connection.
    ResendSuppressed,
    /// hamgrd's ZMQ producer says fields that are said once again after a handshake.
    OneShotReplayed,
    /// haorchd's BFD backend goes on with sessions that are no longer wanted.
    BfdNeverEnds,
    /// haorchd does not hear that BFD sessions still are open.
    BfdFarewellUnheard,
    /// The controller tears down the peer's configuration, too.
    PeerTornDown,
    /// hamgrd loses approvals.
    ApprovalLost,
    /// BFD takes packets with an authentication section as if they had none.
    BfdAuthIgnored,
}

impl Mutant {
    /// Every mutant.
    pub const ALL: [Self; 21] = [
        Self::FlushUnnoticed,
        Self::ScopeBeforeSet,
        Self::ApprovalReplayed,
        Self::BfdCreatedOnce,
        Self::UnknownIsDown,
        Self::UnknownIsDownToTheController,
        Self::FenceIgnored,
        Self::EpochForgotten,
        Self::BothActive,
        Self::ApprovedBlindly,
        Self::GapUnread,
        Self::BfdOutlivesService,
        Self::RoleBeforeBfd,
        Self::RestlessProbe,
        Self::ResendSuppressed,
        Self::OneShotReplayed,
        Self::BfdNeverEnds,
        Self::BfdFarewellUnheard,
        Self::PeerTornDown,
        Self::ApprovalLost,
        Self::BfdAuthIgnored,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FlushUnnoticed => "flush-unnoticed",
            Self::ScopeBeforeSet => "scope-before-set",
            Self::ApprovalReplayed => "approval-replayed",
            Self::BfdCreatedOnce => "bfd-created-once",
            Self::UnknownIsDown => "unknown-is-down",
            Self::UnknownIsDownToTheController => "unknown-is-down-to-the-controller",
            Self::FenceIgnored => "fence-ignored",
            Self::EpochForgotten => "epoch-forgotten",
            Self::BothActive => "both-active",
            Self::ApprovedBlindly => "approved-blindly",
            Self::GapUnread => "gap-unread",
            Self::BfdOutlivesService => "bfd-outlives-service",
            Self::RoleBeforeBfd => "role-before-bfd",
            Self::RestlessProbe => "restless-probe",
            Self::ResendSuppressed => "resend-suppressed",
            Self::OneShotReplayed => "one-shot-replayed",
            Self::BfdNeverEnds => "bfd-never-ends",
            Self::BfdFarewellUnheard => "bfd-farewell-unheard",
            Self::PeerTornDown => "peer-torn-down",
            Self::ApprovalLost => "approval-lost",
            Self::BfdAuthIgnored => "bfd-auth-ignored",
        }
    }

    /// The mutant of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mutant| mutant.name() == name)
    }

    /// The promise that it breaks.
    pub const fn breaks(self) -> Invariant {
        match self {
            Self::FlushUnnoticed | Self::EpochForgotten | Self::GapUnread | Self::ResendSuppressed => {
                Invariant::P1
            }
            Self::FenceIgnored => Invariant::P3,
            Self::BfdCreatedOnce
            | Self::UnknownIsDown
            | Self::BfdOutlivesService
            | Self::BfdNeverEnds
            | Self::BfdAuthIgnored => Invariant::P4,
            Self::ScopeBeforeSet | Self::RoleBeforeBfd | Self::BfdFarewellUnheard => Invariant::P5,
            Self::RestlessProbe | Self::UnknownIsDownToTheController => Invariant::P6,
            Self::BothActive | Self::ApprovedBlindly => Invariant::P7,
            Self::PeerTornDown => Invariant::P8,
            Self::ApprovalReplayed | Self::OneShotReplayed | Self::ApprovalLost => Invariant::P9,
        }
    }

    fn lens(self, proc: Proc, ports: &[PortSpec]) -> Option<Box<dyn Lens>> {
        let ports = Ports::of(ports);
        match (self, proc) {
            (Self::FlushUnnoticed, Proc::Hamgrd(_)) => Some(Box::new(hamgrd::FlushUnnoticed::at(&ports))),
            (Self::ScopeBeforeSet, Proc::Hamgrd(_)) => Some(Box::new(hamgrd::ScopeBeforeSet::default())),
            (Self::ApprovalReplayed, Proc::Hamgrd(_)) => Some(Box::new(hamgrd::ApprovalReplayed::default())),
            (Self::BfdCreatedOnce, Proc::Hamgrd(_)) => Some(Box::new(hamgrd::BfdCreatedOnce::default())),
            (Self::UnknownIsDown, Proc::Hamgrd(_))
            | (Self::UnknownIsDownToTheController, Proc::Controller) => {
                Some(Box::new(others::UnknownIsDown::at(&ports)))
            }
            (Self::FenceIgnored, Proc::Hamgrd(_)) => Some(Box::new(hamgrd::FenceIgnored::default())),
            (Self::EpochForgotten, Proc::Controller) => Some(Box::new(controller::EpochForgotten)),
            (Self::BothActive, Proc::Controller) => Some(Box::new(controller::BothActive)),
            (Self::ApprovedBlindly, Proc::Controller) => {
                Some(Box::new(controller::ApprovedBlindly::at(&ports)))
            }
            (Self::GapUnread, Proc::Hamgrd(_)) => Some(Box::new(hamgrd::GapUnread::at(&ports))),
            (Self::BfdOutlivesService, Proc::Haorchd(_)) => Some(Box::new(others::BfdOutlivesService)),
            (Self::RoleBeforeBfd, Proc::Haorchd(_)) => Some(Box::new(others::RoleBeforeBfd::default())),
            (Self::RestlessProbe, Proc::PmonNpu(_)) => Some(Box::new(others::RestlessProbe::default())),
            (Self::BfdFarewellUnheard, Proc::Haorchd(_)) => Some(Box::new(others::BfdFarewellUnheard)),
            (Self::PeerTornDown, Proc::Controller) => Some(Box::new(controller::PeerTornDown::at(&ports))),
            (Self::ApprovalLost, Proc::Hamgrd(_)) => Some(Box::new(hamgrd::ApprovalLost)),
            (
                Self::FlushUnnoticed
                | Self::ScopeBeforeSet
                | Self::ApprovalReplayed
                | Self::BfdCreatedOnce
                | Self::UnknownIsDown
                | Self::UnknownIsDownToTheController
                | Self::FenceIgnored
                | Self::EpochForgotten
                | Self::BothActive
                | Self::ApprovedBlindly
                | Self::GapUnread
                | Self::BfdOutlivesService
                | Self::RoleBeforeBfd
                | Self::RestlessProbe
                | Self::ResendSuppressed
                | Self::OneShotReplayed
                | Self::BfdNeverEnds
                | Self::BfdFarewellUnheard
                | Self::PeerTornDown
                | Self::ApprovalLost
                | Self::BfdAuthIgnored,
                Proc::Controller
                | Proc::Rival
                | Proc::Hamgrd(_)
                | Proc::PmonNpu(_)
                | Proc::Haorchd(_)
                | Proc::PmonDpu(_)
                | Proc::Orchagent(_),
            ) => None,
        }
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What changes between a part and the world. By default nothing does.
trait Lens {
    /// What the part is told of a reader's update.
    fn update(&mut self, _port: usize, update: Update) -> Vec<Update> {
        vec![update]
    }
    /// What the part is told of a store's update.
    fn stored(&mut self, _port: usize, update: StoreUpdate) -> Vec<StoreUpdate> {
        vec![update]
    }
    /// What the part is told by other ways than a database.
    fn extra(&mut self, extra: Extra) -> Option<Extra> {
        Some(extra)
    }
    /// What becomes of what the part says.
    fn said(&mut self, out: Vec<Out>) -> Said {
        Said { out, told: Vec::new() }
    }
}

/// What leaves a lens outwards.
struct Said {
    /// To the world.
    out: Vec<Out>,
    /// Back to the part.
    told: Vec<Told>,
}

/// What a part is told, as if from its port.
enum Told {
    Store(usize, StoreUpdate),
    Read(usize, Update),
}

/// The ports of a part by what they read or write.
struct Ports(Vec<(bool, Db)>);

impl Ports {
    fn of(specs: &[PortSpec]) -> Self {
        let of = |spec: &PortSpec| match spec {
            PortSpec::Subscribe(_, db, _) | PortSpec::Consume(_, db, _) | PortSpec::Serve(_, db, _) => {
                (true, *db)
            }
            PortSpec::Store(_, db, _) | PortSpec::Produce(_, db, _) => (false, *db),
        };
        Self(specs.iter().map(of).collect())
    }

    fn reading(&self, db: Db) -> Vec<usize> {
        self.with((true, db))
    }

    fn storing(&self, db: Db) -> Vec<usize> {
        self.with((false, db))
    }

    fn with(&self, kind: (bool, Db)) -> Vec<usize> {
        let found = self.0.iter().enumerate().filter(|(_, port)| **port == kind);
        found.map(|(at, _)| at).collect()
    }
}

/// The part as the mutant has it.
pub(crate) fn through(mutant: Option<Mutant>, proc: Proc, part: Box<dyn Part>) -> Box<dyn Part> {
    match mutant.and_then(|mutant| mutant.lens(proc, &part.ports())) {
        Some(lens) => Box::new(Mutated { part, lens }),
        None => part,
    }
}

/// What stands between a producer and its link.
pub(crate) fn link_lens(mutant: Option<Mutant>) -> Option<LinkLens> {
    if mutant == Some(Mutant::ResendSuppressed) {
        Some(LinkLens::ResendSuppressed(BTreeMap::new()))
    } else if mutant == Some(Mutant::OneShotReplayed) {
        Some(LinkLens::OneShotReplayed { asked: BTreeMap::new(), is_fresh: false })
    } else {
        None
    }
}

/// A mistake of who runs BFD sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BfdMistake {
    /// Sessions that are no longer wanted go on.
    NothingRemoved,
    /// Authentication sections are not looked at.
    AuthIgnored,
}

/// What a process does wrong with its BFD sessions.
pub(crate) fn bfd_mistake(mutant: Option<Mutant>, proc: Proc) -> Option<BfdMistake> {
    match (mutant, proc) {
        (Some(Mutant::BfdNeverEnds), Proc::Haorchd(_)) => Some(BfdMistake::NothingRemoved),
        (Some(Mutant::BfdAuthIgnored), _) => Some(BfdMistake::AuthIgnored),
        _ => None,
    }
}

/// How often a part is told something back within one step, at most.
const ECHOES_MAX: u32 = 4;

struct Mutated {
    part: Box<dyn Part>,
    lens: Box<dyn Lens>,
}

impl Part for Mutated {
    fn ports(&self) -> Vec<PortSpec> {
        self.part.ports()
    }

    fn update(&mut self, port: usize, update: Update) {
        for update in self.lens.update(port, update) {
            self.part.update(port, update);
        }
    }

    fn stored(&mut self, port: usize, update: StoreUpdate) {
        for update in self.lens.stored(port, update) {
            self.part.stored(port, update);
        }
    }

    fn extra(&mut self, extra: Extra) {
        if let Some(extra) = self.lens.extra(extra) {
            self.part.extra(extra);
        }
    }

    fn handle(&mut self, now: Time, wall: WallMs, out: &mut Vec<Out>) {
        for _ in 0..ECHOES_MAX {
            let mut said = Vec::new();
            self.part.handle(now, wall, &mut said);
            let Said { out: passed, told } = self.lens.said(said);
            out.extend(passed);
            if told.is_empty() {
                return;
            }
            for told in told {
                match told {
                    Told::Store(port, update) => self.part.stored(port, update),
                    Told::Read(port, update) => self.part.update(port, update),
                }
            }
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.part.next_deadline()
    }
}
