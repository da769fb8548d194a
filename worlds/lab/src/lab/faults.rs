//! Faults of links and of whole switches.

use schema::{Db, LinkState};

use super::{Lab, LabError};
use crate::topology::DpuId;
use crate::world::Place;

impl Lab {
    /// The front-panel link of a DPU, at the NPU's end; the DPU's port follows.
    ///
    /// # Errors
    /// It does not obey.
    pub async fn front_panel(&mut self, id: DpuId, state: LinkState) -> Result<(), LabError> {
        let Self { dpus, watch, session, .. } = self;
        let dpu = dpus.get_mut(&id).ok_or(LabError::NoSuchDpu(id))?;
        Ok(watch.during(session, dpu.front_panel(state)).await?)
    }

    /// Nothing passes between the DPU and its peer any more.
    ///
    /// # Errors
    /// The network does not obey.
    pub async fn part(&mut self, dpu: DpuId) -> Result<(), LabError> {
        let Self { context, watch, session, .. } = self;
        Ok(watch.during(session, context.network.part(dpu)).await?)
    }

    /// Everything passes again.
    ///
    /// # Errors
    /// The network does not obey.
    pub async fn heal(&mut self, dpu: DpuId) -> Result<(), LabError> {
        let Self { context, watch, session, .. } = self;
        Ok(watch.during(session, context.network.heal(dpu)).await?)
    }

    /// Cuts the power of a switch: its links, its daemons, its databases and its DPUs.
    ///
    /// # Errors
    /// The network does not obey, or the lab has no such switch.
    pub async fn lose_switch(&mut self, switch: u8) -> Result<(), LabError> {
        let lost: Vec<DpuId> = self.topology.dpus_of(switch).collect();
        {
            let Self { context, watch, session, .. } = self;
            watch.during(session, context.network.npu_power(switch, LinkState::Down)).await?;
        }
        self.kill(&lost).await?;
        let Self { npus, watch, session, .. } = self;
        if let Some(npu) = npus.get_mut(usize::from(switch)) {
            watch.during(session, npu.kill()).await;
        }
        Ok(())
    }

    /// Gives it back: links, databases with their configuration, daemons, DPUs.
    ///
    /// # Errors
    /// Something does not start.
    pub async fn restore_switch(&mut self, switch: u8) -> Result<(), LabError> {
        {
            let Self { context, npus, watch, session, .. } = self;
            watch.during(session, context.network.npu_power(switch, LinkState::Up)).await?;
            if let Some(npu) = npus.get_mut(usize::from(switch)) {
                watch.during(session, npu.start()).await?;
            }
        }
        // What they hold now is to be known, not what they held before.
        let dbs = [Db::ConfigDb, Db::ApplDb, Db::StateDb, Db::ChassisStateDb];
        let what = "the databases of the switch are read anew";
        self.until(what, |world| dbs.iter().all(|db| world.answers(Place::Npu(switch), *db))).await?;
        let lost: Vec<DpuId> = self.topology.dpus_of(switch).collect();
        self.boot(&lost).await
    }
}
