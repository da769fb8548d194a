//! All states against all states.

use super::peer::Scene;
use super::*;

#[test]
fn the_table_in_the_documentation_is_the_code() {
    let mut table = String::from("```text\n local \\ received │");
    let cell = |text: String| format!(" {text:<12}");
    for received in State::ALL {
        table += &cell(received.to_string());
    }
    table = table.trim_end().to_owned();
    table += &format!("\n{}┼{}\n", "─".repeat(18), "─".repeat(49));
    for local in State::ALL {
        let mut row = format!(" {:<17}│", local.to_string());
        for received in State::ALL {
            row += &cell(match step(local, received) {
                Step::Discard => "discard".into(),
                Step::Stay(_) => "stay".into(),
                Step::Enter(State::Down, Some(diagnostic)) => format!("Down ({})", diagnostic.code()),
                Step::Enter(state, _) => state.to_string(),
            });
        }
        table += row.trim_end();
        table += "\n";
    }
    table += "```\n";
    assert_eq!(table, include_str!("../machine.md"));
}

/// RFC 5880 6.8.6, written down a second time: local, received, state after, diagnostic after.
#[test]
fn every_pair_of_states_ends_as_the_rfc_says() {
    use State::*;
    let rows: [(State, State, State, u8); 16] = [
        (AdminDown, AdminDown, AdminDown, 7),
        (AdminDown, Down, AdminDown, 7),
        (AdminDown, Init, AdminDown, 7),
        (AdminDown, Up, AdminDown, 7),
        (Down, AdminDown, Down, 0),
        (Down, Down, Init, 0),
        (Down, Init, Up, 0),
        (Down, Up, Down, 0),
        (Init, AdminDown, Down, 3),
        (Init, Down, Init, 0),
        (Init, Init, Up, 0),
        (Init, Up, Up, 0),
        (Up, AdminDown, Down, 3),
        (Up, Down, Down, 3),
        (Up, Init, Up, 0),
        (Up, Up, Up, 0),
    ];
    for role in [Role::Active, Role::Passive] {
        for (local, received, after, diagnostic) in rows {
            let mut scene = Scene::in_state(config(role), local);
            let effects = scene.hear(received);
            let pair = format!("{role:?} {local} hears {received}");
            assert_eq!(scene.session().state(), after, "{pair}");
            assert_eq!(scene.session().diagnostic().code(), diagnostic, "{pair}");
            let changed: Vec<_> =
                changes(&effects).into_iter().map(|(from, to, d)| (from, to, d.code())).collect();
            let expected = if local == after { vec![] } else { vec![(local, after, diagnostic)] };
            assert_eq!(changed, expected, "{pair}");
            // A change is told at once, and says the truth.
            let told: Vec<_> = sent(&effects).iter().map(|packet| packet.state).collect();
            let silent = local == after;
            // A passive session starts its periodic packets with the first it hears.
            let starts = role == Role::Passive && matches!(local, Down | AdminDown);
            assert_eq!(told, if silent && !starts { vec![] } else { vec![after] }, "{pair}");
            let counted = scene.session().counters().drops.of(DropReason::AdminDown);
            assert_eq!(counted, u64::from(local == AdminDown), "{pair}");
        }
    }
}
