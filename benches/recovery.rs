//! Recovery: what a start reads before it serves, from a snapshot and from a log alone, until the tree is there and all that was found
//! is durable. The files are in the page cache, as after the end of the process that wrote them.
//!
//! A million nodes of 100 bytes below a thousand parents; criterion's throughput is nodes a second. As a test, there are few.

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use std::error::Error;
use std::time::Duration;
use zabra::storage::Dirs;
use zabra::storage::boot::{BootOptions, read};
use zabra::storage::disk::RealDisk;
use zabra::storage::snapshot::{Form, Packing};
use zabra::storage::stage::stage;
use zabra::storage::txn_log::writer::{LogOptions, TxnLog};
use zabra::wire::payload::Logged;
use zabra::wire::snapshot::tree::open_acl;
use zabra_model::ids::{Epoch, SessionId, Zxid};
use zabra_model::tree::node::Tree;
use zabra_model::tree::txn::{Created, Txn, TxnHeader};

const PARENTS: u32 = 1000;
const DATA: &[u8] = &[7; 100];

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let is_measured = std::env::args().any(|arg| arg == "--bench");
    let per_parent: u32 = if is_measured { 1000 } else { 1 };
    let nodes = u64::from(PARENTS) * u64::from(per_parent + 1);
    let mut group = criterion.benchmark_group("recovery");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5))
        .sampling_mode(SamplingMode::Flat)
        .throughput(Throughput::Elements(nodes));
    for (of, is_log) in [("snapshot", false), ("log", true)] {
        let dir = tempfile::tempdir()?;
        let dirs = Dirs::new(dir.path(), dir.path());
        fill(&dirs, per_parent, is_log)?;
        let found = read(&RealDisk, &dirs, options())?;
        // Those of every tree are the root and three more, and the parents have one above them.
        if found.tree.len() as u64 != nodes + 5 {
            return Err(format!("{} nodes", found.tree.len()).into());
        }
        drop(found);
        group.bench_function(BenchmarkId::new(of, nodes), |b| {
            // The tree is dropped outside of the measured time: a server keeps it.
            b.iter_with_large_drop(|| read(&RealDisk, &dirs, options()));
        });
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// As a server does.
fn beside(job: Box<dyn FnOnce() + Send>) -> bool {
    std::thread::Builder::new().spawn(job).is_ok()
}

fn options() -> BootOptions {
    BootOptions {
        trust_empty_snapshot: false,
        is_ensemble: false,
        form: Form::from(Packing::Plain),
        beside: Some(beside),
    }
}

/// A directory with these nodes in a log behind an empty snapshot, or in a snapshot.
fn fill(dirs: &Dirs, per_parent: u32, is_log: bool) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(&dirs.snap)?;
    let mut tree = Tree::new();
    let mut log = TxnLog::new(
        RealDisk,
        dirs.log.clone(),
        LogOptions::default(),
        Zxid::ZERO,
    );
    if is_log {
        stage(&RealDisk, dirs, &tree.image(), Packing::Plain)?.publish(&RealDisk)?;
    }
    let mut scratch = BytesMut::new();
    let mut last = Zxid::ZERO;
    for (path, data, parent_cversion) in creations(per_parent) {
        last = if last == Zxid::ZERO {
            Zxid::new(Epoch(1), 1)
        } else {
            Zxid(last.0 + 1)
        };
        let header = TxnHeader {
            session: SessionId(5),
            zxid: last,
            time: 1,
            ..TxnHeader::default()
        };
        let txn = Txn::Create {
            path: path.into(),
            data: Some(data),
            acl: open_acl().to_vec(),
            created: Created::Node {
                ephemeral: false,
                with_stat: false,
            },
            parent_cversion,
        };
        let logged = Logged::encode(header, txn, &mut scratch);
        if is_log {
            log.append(last, &logged.bytes)?;
        } else {
            tree.apply(&logged.header, &logged.txn, &mut |_| {});
        }
    }
    if is_log {
        log.sync()?;
    } else {
        stage(&RealDisk, dirs, &tree.image(), Packing::Plain)?.publish(&RealDisk)?;
    }
    Ok(())
}

/// Paths with their data and how many children their parent has then.
fn creations(per_parent: u32) -> impl Iterator<Item = (String, Bytes, i32)> {
    let all = (0..PARENTS).flat_map(move |parent| {
        let above = format!("/m/d{parent:03}");
        let children = (0..per_parent).map({
            let above = above.clone();
            move |child| {
                (
                    format!("{above}/n{child:06}"),
                    Bytes::from_static(DATA),
                    child as i32 + 1,
                )
            }
        });
        std::iter::once((above, Bytes::new(), parent as i32 + 1)).chain(children)
    });
    std::iter::once(("/m".to_owned(), Bytes::new(), 1)).chain(all)
}
