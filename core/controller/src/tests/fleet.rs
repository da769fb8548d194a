//! A fleet is valid or it is not one.

use super::field::fleet_with;
use crate::*;

fn parts() -> (Vec<SwitchName>, Vec<VdpuIntent>, Vec<HaSetIntent>, Timing) {
    let fleet = fleet_with(2, |_| {}, |_| {});
    let switches = fleet.switches().cloned().collect();
    (switches, fleet.vdpus().cloned().collect(), fleet.ha_sets().cloned().collect(), Timing::default())
}

#[test]
fn every_reference_of_a_fleet_must_resolve_and_every_name_be_unique() {
    type Parts = (Vec<SwitchName>, Vec<VdpuIntent>, Vec<HaSetIntent>, Timing);
    type Spoil = fn(&mut Parts);
    let cases: [(Spoil, FleetItem, &str); 12] = [
        (|p| p.0.push(p.0[0].clone()), FleetItem::Switch(2), "name"),
        (|p| p.1[1].id = p.1[0].id.clone(), FleetItem::Vdpu(1), "id"),
        (|p| p.1[1].dpu = p.1[0].dpu.clone(), FleetItem::Vdpu(1), "slot"),
        (|p| p.1[3].dpu.switch = SwitchName::new("other").unwrap(), FleetItem::Vdpu(3), "switch"),
        (|p| p.2[1].id = p.2[0].id.clone(), FleetItem::HaSet(1), "id"),
        (|p| p.2[1].vip_v4 = None, FleetItem::HaSet(1), "vip_v4"),
        (|p| drop(p.2[0].vdpus.pop()), FleetItem::HaSet(0), "vdpus"),
        (|p| p.2[0].vdpus[1] = p.2[0].vdpus[0].clone(), FleetItem::HaSet(0), "vdpus"),
        (|p| p.2[0].vdpus[1] = schema::VdpuId::new("nobody").unwrap(), FleetItem::HaSet(0), "vdpus"),
        (|p| p.2[0].active = p.2[1].active.clone(), FleetItem::HaSet(0), "active"),
        (|p| p.3.verify_timeout_ms = 0, FleetItem::Timing, "verify_timeout_ms"),
        (|p| p.3.retry_ms_max = 1, FleetItem::Timing, "retry_ms_max"),
    ];
    for (spoil, item, field) in cases {
        let mut parts = parts();
        spoil(&mut parts);
        let problems = Fleet::new(parts.0, parts.1, parts.2, parts.3, ApprovalPolicy::default()).unwrap_err();
        assert!(
            problems.iter().any(|p| p.item == item && p.field == field),
            "{item:?} {field}: {problems:?}"
        );
    }
    let (switches, vdpus, sets, timing) = parts();
    assert!(Fleet::new(switches, vdpus, sets, timing, ApprovalPolicy::default()).is_ok());
}

#[test]
fn state_inputs_and_records_survive_json() {
    let mut field = super::field::Field::settled();
    field.dpu("vdpu0_0").die();
    field.run_ms(1200);
    let text = serde_json::to_string(&field.controller).unwrap();
    assert_eq!(serde_json::from_str::<Controller>(&text).unwrap(), field.controller);
    for record in field.store.values() {
        let text = serde_json::to_string(record).unwrap();
        assert_eq!(serde_json::from_str::<DpuRecord>(&text).unwrap(), *record);
    }
    let input = Input::Fleet(field.fleet.clone());
    let text = serde_json::to_string(&input).unwrap();
    assert_eq!(serde_json::from_str::<Input>(&text).unwrap(), input);
}
