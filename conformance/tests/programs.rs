//! Kafka, Solr, BookKeeper, HBase and YARN at work with three servers, over deaths of leaders on both sides.
//!
//! What each does and checks stands in its driver, `interop/programs/*/Work.java`. They take minutes and hundreds of megabytes, so they
//! run when they are asked for: by `cargo xtask interop --program NAME`, which prints a table, or here by `ZABRA_PROGRAMS=NAME,NAME`.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use zabra_conformance::cluster::Product;
use zabra_conformance::dependents::{Dependent, run};

/// Names of programs, with commas between.
const ASKED: &str = "ZABRA_PROGRAMS";

fn works(program: Dependent) {
    let asked = std::env::var(ASKED).unwrap_or_default();
    if !asked.split(',').any(|name| name == program.name()) {
        let name = program.name();
        eprintln!("\n#### SKIPPED: {name} is not asked for: {ASKED}={name}\n");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let report = run(program, Product::Zabra, directory.path()).unwrap();
    if report.wrong.is_some() {
        let kept = directory.keep();
        panic!("{report:#?}, logs and data: {}", kept.display());
    }
}

#[test]
fn kafka_keeps_every_record_and_elects_controllers() {
    works(Dependent::Kafka);
}

#[test]
fn solr_keeps_every_document_and_elects_overseers() {
    works(Dependent::Solr);
}

#[test]
fn bookkeeper_keeps_every_entry_and_elects_auditors() {
    works(Dependent::BookKeeper);
}

#[test]
fn hbase_keeps_every_row_and_elects_masters() {
    works(Dependent::HBase);
}

#[test]
fn yarn_keeps_every_application_and_elects_resource_managers() {
    works(Dependent::Hadoop);
}
