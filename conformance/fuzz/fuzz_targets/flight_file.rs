//! Gives the fuzzer's bytes to `flight_file` of `conformance/src/fuzz/`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zabra_conformance::fuzz::files::flight(data));
