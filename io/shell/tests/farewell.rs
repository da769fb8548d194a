//! Alone in its process: the signal would reach every shell of it.

use std::time::Duration;

use clap::Parser;
use reconcile::{Batch, Core, Time};
use serde::Serialize;
use shell::{DaemonArgs, Farewell, Shell};
use tokio::sync::mpsc;

const LAST: u32 = 99;

/// Remembers what it is given.
#[derive(Default, Serialize)]
struct Listener {
    inputs: Vec<u32>,
}

impl Core for Listener {
    type Input = u32;
    type Effect = u32;

    fn handle(&mut self, _now: Time, batch: Batch<u32>, out: &mut Vec<u32>) {
        out.extend(&batch.inputs);
        self.inputs.extend(batch.inputs);
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        None
    }
}

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    daemon: DaemonArgs,
}

#[tokio::test]
async fn the_farewell_is_said_before_the_daemon_leaves() {
    let shell = Shell::start(&Args::parse_from(["daemon"]).daemon).await.unwrap();
    let mut core = Listener::default();
    let (sender, inputs) = mpsc::channel(8);
    sender.send(1).await.unwrap();
    let farewell = Farewell::<Listener> {
        input: LAST,
        is_over: |core| core.inputs.last() == Some(&LAST),
        timeout: Duration::from_secs(60),
    };
    // The signal goes to this very process once the first input has arrived, so the handlers are in place.
    let apply = |effects: Vec<u32>| {
        if effects.contains(&1) {
            let kill =
                std::process::Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status();
            assert!(kill.unwrap().success());
        }
    };
    shell.run(&mut core, inputs, apply, Some(farewell)).await.unwrap();
    assert_eq!(core.inputs, [1, LAST]);
    drop(sender);
}
