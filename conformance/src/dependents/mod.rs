//! Programs that keep their state in ZooKeeper (Kafka, Solr, …), run for real against three servers that lose their leader meanwhile.
//!
//! Each has a folder below `interop/programs`: `pom.xml` names the release, which Maven fetches into its own repository, and `Work.java`
//! is the driver, which starts the program's processes, gives them work, ends some of them, and checks what it sees. What this module
//! does: it starts the servers, does to them what the driver asks for, and reads what the program's logs say about their answers.

mod driver;
mod jars;
mod logs;

use crate::cluster::{Cluster, Product};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// ZooKeeper's own defaults for the pace: sessions of 4 to 40 s.
const PACE: &[(&str, &str)] = &[
    ("tickTime", "2000"),
    ("initLimit", "10"),
    ("syncLimit", "5"),
];
/// What Solr's manual asks for: three words, and room for large files.
const SOLR: &[(&str, &str)] = &[
    PACE[0],
    PACE[1],
    PACE[2],
    ("4lw.commands.whitelist", "mntr,conf,ruok,srvr"),
    ("jute.maxbuffer", "10485760"),
];
/// These programs take what a machine has, so that a server takes long to come back.
const PATIENCE: Duration = Duration::from_secs(120);
/// Servers of an ensemble.
const SERVERS: usize = 3;

/// A program that keeps its state in ZooKeeper.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum Dependent {
    /// Three brokers with ACLs and SCRAM users.
    Kafka,
    /// SolrCloud, three nodes.
    Solr,
    /// Four bookies with autorecovery.
    BookKeeper,
    /// Two masters, two region servers.
    HBase,
    /// Two resource managers of YARN, with Hadoop's elector and the state store.
    Hadoop,
}

impl Dependent {
    /// All of them, in the order in which they run.
    pub const ALL: &[Self] = &[
        Self::Kafka,
        Self::Solr,
        Self::BookKeeper,
        Self::HBase,
        Self::Hadoop,
    ];

    /// By which it is asked for; also the folder below `interop/programs`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Solr => "solr",
            Self::BookKeeper => "bookkeeper",
            Self::HBase => "hbase",
            Self::Hadoop => "hadoop",
        }
    }

    /// Lines of `zoo.cfg`.
    const fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Kafka | Self::BookKeeper | Self::HBase | Self::Hadoop => PACE,
            Self::Solr => SOLR,
        }
    }
}

/// How a run went.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Which program.
    pub program: Dependent,
    /// Its release.
    pub version: String,
    /// What was done, a sentence each; all of it has held.
    pub did: Vec<String>,
    /// From its first process to its last.
    pub seconds: u64,
    /// What was wrong, if anything was.
    pub wrong: Option<String>,
}

/// Runs a program against three servers of this product. Logs and data are below `directory`, which is filled.
///
/// # Errors
/// The program cannot be had. What goes wrong with it at work stands in the report.
pub fn run(program: Dependent, product: Product, directory: &Path) -> Result<Report> {
    let folder = crate::interop::script("programs").join(program.name());
    let version = jars::version(&folder)?;
    eprintln!("==> {} {version} with {product:?}", program.name());
    let began = Instant::now();
    let command = jars::command(&folder, directory)?;
    eprintln!(
        "    its jars are there after {} s",
        began.elapsed().as_secs()
    );
    let began = Instant::now();
    let mut did = vec![];
    let outcome = start(program, product)
        .and_then(|cluster| work(command, &folder, cluster, directory, &mut did));
    let wrong = outcome.err().map(|error| format!("{error:#}"));
    Ok(Report {
        program,
        version,
        did,
        seconds: began.elapsed().as_secs(),
        wrong,
    })
}

fn start(program: Dependent, product: Product) -> Result<Cluster> {
    let mut cluster = Cluster::prepare(&[product; SERVERS], &[], program.settings())?;
    cluster.patience = PATIENCE;
    for i in 0..SERVERS {
        cluster.restart(i)?;
    }
    cluster.wait_until_serving()?;
    Ok(cluster)
}

fn work(
    command: Command,
    source: &Path,
    mut cluster: Cluster,
    directory: &Path,
    did: &mut Vec<String>,
) -> Result<()> {
    let outcome = driver::drive(command, source, &mut cluster, directory, did);
    for server in &cluster.servers {
        let product = match server.product {
            Product::Zabra => logs::ZABRA,
            Product::ZooKeeper => "zookeeper-",
        };
        let copy = directory.join(format!("{product}{}.log", server.id));
        std::fs::copy(server.log(), &copy).with_context(|| copy.display().to_string())?;
    }
    outcome?;
    cluster.wait_until_serving()?;
    let complaints = logs::complaints(directory)?;
    ensure!(
        complaints.is_empty(),
        "the logs complain about answers:\n{}",
        complaints.join("\n")
    );
    Ok(())
}
