//! Gives the fuzzer's bytes to `sasl_token` of `conformance/src/fuzz/`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zabra_conformance::fuzz::clients::sasl_token(data));
