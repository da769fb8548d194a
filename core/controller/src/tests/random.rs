//! Anything may happen in any order; what must hold holds, and once it stops all is well.

use proptest::prelude::*;
use schema::{AsicHaState, LinkState};

use super::field::{Field, fleet_of, fleet_with};
use crate::*;

#[derive(Clone, Debug)]
enum Event {
    Wait(u64),
    Die(u8),
    Boot(u8),
    Planes(u8, [bool; 3]),
    NoRow(u8),
    Unreachable(u8),
    Reachable(u8),
    FlushAppl(u8),
    FlushState(u8),
    HamgrdStops(u8),
    HamgrdRuns(u8),
    DropsScope(u8),
    ControllerRestarts,
    ControllerDiesAfter(usize),
    StoreLost,
    StoreFails(bool),
    AdminDown(u8),
    AllUp,
    Channel(bool),
}

fn event() -> impl Strategy<Value = Event> {
    let side = 0u8..2;
    prop_oneof![
        6 => (1u64..3000).prop_map(Event::Wait),
        3 => side.clone().prop_map(Event::Die),
        4 => side.clone().prop_map(Event::Boot),
        2 => (side.clone(), any::<[bool; 3]>()).prop_map(|(side, planes)| Event::Planes(side, planes)),
        1 => side.clone().prop_map(Event::NoRow),
        1 => side.clone().prop_map(Event::Unreachable),
        2 => side.clone().prop_map(Event::Reachable),
        1 => side.clone().prop_map(Event::FlushAppl),
        1 => side.clone().prop_map(Event::FlushState),
        1 => side.clone().prop_map(Event::HamgrdStops),
        2 => side.clone().prop_map(Event::HamgrdRuns),
        1 => side.clone().prop_map(Event::DropsScope),
        1 => Just(Event::ControllerRestarts),
        2 => (0usize..8).prop_map(Event::ControllerDiesAfter),
        1 => Just(Event::StoreLost),
        1 => any::<bool>().prop_map(Event::StoreFails),
        1 => side.prop_map(Event::AdminDown),
        1 => Just(Event::AllUp),
        2 => any::<bool>().prop_map(Event::Channel),
    ]
}

fn vdpu(side: u8) -> String {
    format!("vdpu{side}_0")
}

fn switch(side: u8) -> String {
    format!("switch{side}")
}

fn happen(field: &mut Field, event: &Event) {
    let link = |up: bool| if up { LinkState::Up } else { LinkState::Down };
    match *event {
        Event::Wait(ms) => field.run_ms(ms),
        Event::Die(side) => field.dpu(&vdpu(side)).die(),
        Event::Boot(side) => field.dpu(&vdpu(side)).boot(),
        Event::Planes(side, planes) => {
            let dpu = field.dpu(&vdpu(side));
            if dpu.alive {
                dpu.planes = Some(planes.map(link));
            }
        }
        Event::NoRow(side) => field.dpu(&vdpu(side)).planes = None,
        Event::Unreachable(side) => field.switch(&switch(side)).reachable = false,
        Event::Reachable(side) => field.switch(&switch(side)).reachable = true,
        Event::FlushAppl(side) => field.switch(&switch(side)).appl.clear(),
        Event::FlushState(side) => field.switch(&switch(side)).states.clear(),
        Event::HamgrdStops(side) => field.switch(&switch(side)).hamgrd_runs = false,
        Event::HamgrdRuns(side) => field.switch(&switch(side)).hamgrd_runs = true,
        Event::DropsScope(side) => field.switch(&switch(side)).drops_next_scope = true,
        Event::ControllerRestarts => field.start_controller(),
        Event::ControllerDiesAfter(effects) => field.dies_after = Some(effects),
        Event::StoreLost => {
            field.store.clear();
            field.start_controller();
        }
        Event::StoreFails(fails) => field.store_fails = fails,
        Event::AdminDown(side) => {
            let down = |intent: &mut VdpuIntent| {
                if intent.id.as_str() == vdpu(side) {
                    intent.admin = Admin::Down;
                }
            };
            field.reload(fleet_with(1, down, |_| {}));
        }
        Event::AllUp => field.reload(fleet_of(1)),
        Event::Channel(works) => field.channel_cut = !works,
    }
}

/// Everything that was broken works again.
fn heal(field: &mut Field) {
    field.reload(fleet_of(1));
    field.store_fails = false;
    field.dies_after = None;
    field.channel_cut = false;
    for side in 0..2 {
        let switch = field.switch(&switch(side));
        switch.reachable = true;
        switch.hamgrd_runs = true;
        switch.drops_next_scope = false;
        let dpu = field.dpu(&vdpu(side));
        if dpu.alive {
            dpu.planes = Some([LinkState::Up; 3]);
        } else {
            dpu.boot();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_set_ends_with_one_active_and_one_standby(
        events in prop::collection::vec(event(), 1..40),
    ) {
        let mut field = Field::new(fleet_of(1));
        field.run_ms(3000);
        for event in &events {
            happen(&mut field, event);
            field.settle();
        }
        heal(&mut field);
        field.run_ms(600_000);
        let roles = field.roles();
        let (active, standby) = (Some(AsicHaState::Active), Some(AsicHaState::Standby));
        prop_assert!(roles == [active, standby] || roles == [standby, active], "{:?}", roles);
        for side in 0..2 {
            prop_assert_eq!(field.phase(&vdpu(side)), Some(Phase::Steady));
            let lowered = field.switch(&switch(side)).resets.values().all(|reset| !reset.reset_status);
            prop_assert!(lowered, "the latch of {} is still raised", side);
        }
        field.assert_quiet();
    }
}
