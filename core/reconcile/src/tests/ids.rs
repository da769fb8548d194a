use std::collections::BTreeSet;

use proptest::prelude::*;
use schema::OperationId;

use crate::IdSource;

/// RFC 9562: 8-4-4-4-12 hex digits, version 4, variant 10.
fn is_uuid_v4(id: &OperationId) -> bool {
    let text = id.as_str();
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    lengths == [8, 4, 4, 4, 12]
        && parts.iter().all(|part| part.chars().all(hex))
        && parts[2].starts_with('4')
        && parts[3].starts_with(['8', '9', 'a', 'b'])
}

#[test]
fn ids_are_distinct_within_and_across_seeds() {
    let mut seen = BTreeSet::new();
    for seed in [0, 1, 2, 42, u64::MAX] {
        let mut source = IdSource::new(seed);
        for _ in 0..2000 {
            let id = source.next_operation();
            assert!(is_uuid_v4(&id), "{id}");
            assert!(seen.insert(id.clone()), "{id} came twice");
        }
    }
}

#[test]
fn a_seed_always_gives_the_same_ids() {
    // The published outputs of splitmix64.
    let mut source = IdSource::new(1_234_567);
    let numbers = [source.next_u64(), source.next_u64(), source.next_u64()];
    assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    assert_eq!(IdSource::new(0).next_operation().as_str(), "e220a839-7b1d-4daf-ae78-9e6aa1b965f4");
}

proptest! {
    #[test]
    fn every_seed_gives_uuids_and_is_resumed_from_json(seed in any::<u64>(), used in 0usize..20) {
        let mut source = IdSource::new(seed);
        for _ in 0..used {
            prop_assert!(is_uuid_v4(&source.next_operation()));
        }
        let mut resumed: IdSource = serde_json::from_str(&serde_json::to_string(&source).unwrap()).unwrap();
        prop_assert_eq!(resumed.next_operation(), source.next_operation());
    }
}
