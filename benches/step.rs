//! The protocol's own cost of a write: propose, own disk, two acknowledgements, commit, through `Peer::step` of a leader of
//! three. It is to stay below 200 ns a proposal and to allocate nothing; the second is asserted before anything is measured.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput};
use std::hint::black_box;
use std::time::Instant;
use zabra_benches::Leader;

/// Proposals in one sync: alone, and a busy server's.
const BATCHES: [u32; 2] = [1, 32];

fn payload() -> Bytes {
    Bytes::from(vec![b'z'; 100])
}

#[expect(
    clippy::expect_used,
    reason = "without a leader there is nothing to measure"
)]
fn leader() -> Leader {
    Leader::established().expect("three servers elect a leader")
}

/// Fails if a proposal allocates once the buffers have grown, and says what one costs.
fn assert_nothing_is_allocated() {
    let txn = payload();
    for batch in BATCHES {
        let mut leader = leader();
        for _ in 0..1000 {
            assert!(
                leader.commit(&txn, batch),
                "all that was proposed is delivered"
            );
        }
        let rounds = 20_000 / batch;
        let begun = Instant::now();
        let counted = allocation_counter::measure(|| {
            for _ in 0..rounds {
                black_box(leader.commit(&txn, batch));
            }
        });
        let ns = begun.elapsed().as_nanos() / u128::from(rounds * batch);
        eprintln!(
            "propose to commit, batch {batch}: {ns} ns a proposal, {} allocations",
            counted.count_total
        );
        assert_eq!(
            counted.count_total, 0,
            "batch {batch}: the path from proposal to commit allocates nothing"
        );
    }
}

fn commit(c: &mut Criterion) {
    let txn = payload();
    let mut group = c.benchmark_group("propose_to_commit");
    for batch in BATCHES {
        let mut leader = leader();
        group.throughput(Throughput::Elements(batch.into()));
        group.bench_function(format!("batch_{batch}"), |b| {
            b.iter(|| leader.commit(black_box(&txn), batch));
        });
    }
    group.finish();
    c.bench_function("election_to_serving", |b| {
        b.iter_batched(|| (), |()| leader(), BatchSize::SmallInput);
    });
}

fn main() {
    assert_nothing_is_allocated();
    let mut criterion = Criterion::default().configure_from_args();
    commit(&mut criterion);
    criterion.final_summary();
}
