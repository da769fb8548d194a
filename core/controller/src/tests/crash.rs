//! The controller dies after every single effect of a procedure, and what comes after is the same.

use super::field::{Field, fleet_of};

type Story = fn(&mut Field);

const STORIES: [(&str, Story); 4] = [
    ("the active side restarts", |field| {
        field.dpu("vdpu0_0").die();
        field.run_ms(3000);
        field.dpu("vdpu0_0").boot();
        field.run_ms(10_000);
    }),
    ("the standby side restarts", |field| {
        field.dpu("vdpu1_0").die();
        field.run_ms(3000);
        field.dpu("vdpu1_0").boot();
        field.run_ms(10_000);
    }),
    ("both sides restart", |field| {
        field.dpu("vdpu0_0").die();
        field.dpu("vdpu1_0").die();
        field.run_ms(3000);
        field.dpu("vdpu0_0").boot();
        field.dpu("vdpu1_0").boot();
        field.run_ms(20_000);
    }),
    ("a missed restart", |field| {
        field.dpu("vdpu0_0").boot();
        field.run_ms(10_000);
    }),
];

#[test]
fn a_controller_killed_after_any_effect_finishes_the_job() {
    for (what, story) in STORIES {
        let mut undisturbed = Field::settled();
        story(&mut undisturbed);
        let effects = undisturbed.log.len();
        assert!(effects > 10);
        for after in 0..effects {
            let mut field = Field::settled();
            field.dies_after = Some(after);
            story(&mut field);
            assert_eq!(field.crashes, 1, "{what}, after {after}");
            assert_eq!(field.outcome(), undisturbed.outcome(), "{what}, killed after effect {after}");
            field.assert_quiet();
        }
    }
}

#[test]
fn a_controller_killed_after_any_effect_of_the_first_start_finishes_the_job() {
    let start = |dies_after| {
        let mut field = Field::new(fleet_of(2));
        field.dies_after = dies_after;
        field.run_ms(20_000);
        field
    };
    let undisturbed = start(None);
    for after in 0..undisturbed.log.len() {
        let mut field = start(Some(after));
        assert_eq!(field.crashes, 1);
        assert_eq!(field.outcome(), undisturbed.outcome(), "killed after effect {after}");
        field.assert_quiet();
    }
}
