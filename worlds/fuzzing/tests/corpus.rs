//! Every entry point on stable Rust: the committed corpus, and random mutations of it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fuzzing::TARGETS;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use schema::Table;

/// Mutated inputs per target; a few seconds in all.
const CASES: u32 = 4000;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(fuzz().join("corpus").join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn names(directory: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(fuzz().join(directory)).unwrap();
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_target_has_a_corpus_and_a_cargo_fuzz_target() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("corpus"), targets);
    assert_eq!(names("fuzz_targets"), targets);
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for target in targets {
        assert!(!corpus(&target).is_empty(), "fuzz/corpus/{target} is empty");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target} is no bin");
    }
}

#[test]
fn the_rows_of_every_table_are_decoded() {
    let decoded: BTreeSet<Table> = fuzzing::tables().collect();
    let all: BTreeSet<Table> = Table::ALL.iter().copied().collect();
    assert_eq!(decoded, all);
}

#[test]
fn the_corpus_holds() {
    for (name, entry) in TARGETS {
        for data in corpus(name) {
            entry(&data);
        }
        entry(b"");
    }
}

/// What a fuzzer does, without its guidance.
#[derive(Clone, Debug)]
enum Edit {
    Set(Index, u8),
    Flip(Index, u8),
    Cut(Index, Index),
    Repeat(Index, Index),
    Insert(Index, Vec<u8>),
    Append(Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        (at(), at()).prop_map(|(from, to)| Edit::Cut(from, to)),
        (at(), at()).prop_map(|(from, to)| Edit::Repeat(from, to)),
        (at(), proptest::collection::vec(any::<u8>(), 1..24)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (at(), "[0-9a-z:|,.\" {}\\[\\]-]{1,16}").prop_map(|(at, text)| Edit::Insert(at, text.into_bytes())),
        at().prop_map(Edit::Append),
    ]
}

fn edited(corpus: &[Vec<u8>], start: &Index, edits: &[Edit]) -> Vec<u8> {
    let mut data = corpus[start.index(corpus.len())].clone();
    for edit in edits {
        let length = data.len();
        let place = |index: &Index| index.index(length + 1);
        let span = |a: &Index, b: &Index| place(a).min(place(b))..place(a).max(place(b));
        match edit {
            Edit::Set(at, byte) if length > 0 => data[at.index(length)] = *byte,
            Edit::Flip(at, bit) if length > 0 => data[at.index(length)] ^= 1 << bit,
            Edit::Set(..) | Edit::Flip(..) => {}
            Edit::Cut(from, to) => {
                data.drain(span(from, to));
            }
            Edit::Repeat(from, to) => {
                let again = data[span(from, to)].to_vec();
                data.extend(again);
            }
            Edit::Insert(at, bytes) => {
                let at = place(at);
                data.splice(at..at, bytes.iter().copied());
            }
            Edit::Append(other) => data.extend(&corpus[other.index(corpus.len())]),
        }
        data.truncate(1 << 20);
    }
    data
}

#[test]
fn no_mutation_of_the_corpus_breaks_an_entry_point() {
    for (name, entry) in TARGETS {
        let corpus = corpus(name);
        let mut runner =
            TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
        let edits = (any::<Index>(), proptest::collection::vec(edit(), 1..8));
        let inputs = edits.prop_map(|(start, edits)| edited(&corpus, &start, &edits));
        runner
            .run(&inputs, |data| {
                entry(&data);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
