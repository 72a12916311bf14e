//! Traces of the model on three real processes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at what it did not expect"
)]

use std::path::Path;
use std::time::Duration;
use zabra_conformance::replay::run::{Counts, Options};
use zabra_conformance::replay::suite;

#[test]
fn all() {
    let options = Options {
        binary: suite::build_gated_server().unwrap(),
        patience: Duration::from_secs(10),
        freeze: None,
    };
    let dir = std::env::var("TRACES").unwrap();
    let mut traces = suite::read_all(Path::new(&dir)).unwrap();
    if let Ok(only) = std::env::var("ONLY") {
        traces.retain(|t| t.name.contains(&only));
    }
    let mut counts = Counts::default();
    for outcome in suite::replay_all(&traces, &options, 2).unwrap() {
        match outcome {
            Ok(c) => counts.add(&c),
            Err(d) => println!("{d}\n"),
        }
    }
    println!("{counts:#?}");
}
