//! The rules of the house (ARCHITECTURE.md): a floor uses only the floors above it, and `core/` knows no IO.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Top floor first.
const FLOORS: [&str; 4] = ["core", "io", "apps", "worlds"];

/// What a core may use besides other cores. Pure code, all of it.
const PURE: [&str; 5] = ["jiff", "prost", "serde", "serde_json", "thiserror"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The crates: name, floor, and what their code (not their tests) depends on.
fn crates() -> BTreeMap<String, (usize, Vec<String>)> {
    let mut crates = BTreeMap::new();
    for (floor, name) in FLOORS.iter().enumerate() {
        for entry in std::fs::read_dir(root().join(name)).unwrap() {
            let manifest = entry.unwrap().path().join("Cargo.toml");
            let Ok(text) = std::fs::read_to_string(&manifest) else { continue };
            let manifest: toml::Table = text.parse().unwrap();
            let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
            let dependencies = dependencies.map(|table| table.keys().cloned().collect()).unwrap_or_default();
            let package = manifest["package"]["name"].as_str().unwrap().to_owned();
            crates.insert(package, (floor, dependencies));
        }
    }
    crates
}

#[test]
fn a_floor_uses_only_the_floors_above_it() {
    let crates = crates();
    assert!(crates.len() >= 14, "found only {:?}", crates.keys());
    for (name, (floor, dependencies)) in &crates {
        for dependency in dependencies {
            let Some((below, _)) = crates.get(dependency) else { continue };
            assert!(
                below <= floor,
                "{name} ({}) depends on {dependency} ({})",
                FLOORS[*floor],
                FLOORS[*below]
            );
        }
    }
}

#[test]
fn apps_do_not_know_each_other() {
    let crates = crates();
    for (name, (floor, dependencies)) in crates.iter().filter(|(_, (floor, _))| FLOORS[*floor] == "apps") {
        let other =
            dependencies.iter().find(|dependency| crates.get(*dependency).is_some_and(|(f, _)| f == floor));
        assert_eq!(other, None, "{name} depends on another app");
    }
}

#[test]
fn cores_depend_on_nothing_that_does_io() {
    let crates = crates();
    for (name, (floor, dependencies)) in &crates {
        if FLOORS[*floor] != "core" {
            continue;
        }
        for dependency in dependencies {
            let allowed = crates.contains_key(dependency) || PURE.contains(&dependency.as_str());
            assert!(allowed, "{name} depends on {dependency}, which is not known to be pure");
        }
    }
}
