#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::ha_scope_config(data));
