//! Gives the fuzzer's bytes to `whole_server` of `conformance/src/fuzz/`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zabra_conformance::fuzz::server::whole(data));
