//! kazoo's own tests, as its authors wrote them, with three Zabra servers in the place of Java's.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use zabra_conformance::cluster::binary;
use zabra_conformance::interop::kazoo_suite;

#[test]
fn kazoos_own_tests_pass() {
    let counts = kazoo_suite(binary().unwrap()).unwrap();
    eprintln!("kazoo's own tests: {counts}");
    // Not vacuous: kazoo has some three hundred tests that need a server or stand beside those.
    assert!(counts["passed"].as_u64().unwrap() > 280, "{counts}");
}
