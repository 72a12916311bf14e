//! Gives the fuzzer's bytes to `tls_stream` of `conformance/src/fuzz/`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zabra_conformance::fuzz::tls::stream(data));
