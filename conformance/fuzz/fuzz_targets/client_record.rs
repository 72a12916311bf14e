//! Gives the fuzzer's bytes to `client_record` of `conformance/src/fuzz/`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zabra_conformance::fuzz::clients::record(data));
