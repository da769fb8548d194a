#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzing::bfd_packet(data));
