//! Which switches, where their databases are, and what is wanted of them.

use std::path::Path;

use fleet::{FleetFile, FleetFileError};
use invariants::Expected;
use schema::HaScopeId;
use schema::appl_db::HaScopeConfigKey;
use shell::DatabaseArgs;
use snapshot::Switch;
use swss::DatabaseConfig;

use crate::args::Args;

/// The command line names something that is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The fleet file is wrong or cannot be read.
    #[error(transparent)]
    Fleet(#[from] FleetFileError),
}

/// What is looked at.
#[derive(Debug)]
pub struct Sources {
    /// The switches.
    pub switches: Vec<Switch>,
    /// What the fleet file wants to be configured; without one, the configuration rows are taken as wanted.
    pub expected: Option<Expected>,
}

impl Sources {
    /// Reads the files that the command line names. A switch whose database configuration is of no use is a switch
    /// that cannot be reached.
    ///
    /// # Errors
    /// The fleet file is of no use.
    pub fn load(args: &Args) -> Result<Self, SourceError> {
        let Some(path) = &args.fleet else {
            let files = DatabaseArgs {
                database_config: args.database_config.clone(),
                database_global: args.database_global.clone(),
            };
            return Ok(Self { switches: vec![switch(&own_name(), &files)], expected: None });
        };
        let file = FleetFile::load(path)?;
        let switches = file.switches.iter().map(|(name, access)| {
            let files = DatabaseArgs {
                database_config: access.database_config.clone(),
                database_global: access.database_global.clone(),
            };
            switch(name.as_str(), &files)
        });
        Ok(Self { switches: switches.collect(), expected: Some(expected(&file)) })
    }
}

fn switch(name: &str, files: &DatabaseArgs) -> Switch {
    match DatabaseConfig::load(&files.database_config, &files.global_path()) {
        Ok(databases) => Switch::of(name, &databases),
        Err(error) => Switch::out_of_reach(name, &error),
    }
}

/// Every HA set on the switches of its members, every HA scope on its own (`reference/controller.md` 4).
fn expected(file: &FleetFile) -> Expected {
    let mut expected = Expected::default();
    for set in file.fleet.ha_sets() {
        for member in set.vdpus.iter().filter_map(|vdpu| file.fleet.vdpu(vdpu)) {
            let switch = member.dpu.switch.to_string();
            let key = HaScopeConfigKey { vdpu: member.id.clone(), scope: HaScopeId::from(set.id.clone()) };
            expected.sets.insert((switch.clone(), set.id.clone()));
            expected.scopes.insert((switch, key));
        }
    }
    expected
}

/// The name of the device that this runs on.
fn own_name() -> String {
    let name = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    match name.trim() {
        "" => "this-switch".to_owned(),
        name => name.to_owned(),
    }
}
