//! The codecs of a request's way: client frames in, replies out, proposals to learners, transactions to the log. Each
//! measurement handles a batch of 32, as one read of a busy connection does, and is given per message.

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput};
use std::hint::black_box;
use zabra::wire::client::{RawRequest, ReplyFrame, ReplyHeader, Request, opcode, reply};
use zabra::wire::frame;
use zabra::wire::quorum::{PacketKind, parse, put_packet};
use zabra_model::ids::Zxid;
use zabra_model::tree::op::{ReadOp, WriteOp};
use zabra_model::tree::stat::Stat;

const BATCH: u64 = 32;
const FRAME_BYTES_MAX: usize = 1 << 20;

fn data() -> Bytes {
    Bytes::from(vec![b'z'; 100])
}

fn set(i: u64) -> Request {
    Request::Write(WriteOp::SetData {
        path: Some(format!("/bench/k{i:010}").into()),
        data: Some(data()),
        version: -1,
    })
}

fn get(i: u64) -> Request {
    Request::Read(ReadOp::GetData {
        path: format!("/bench/k{i:010}").into(),
        watch: false,
    })
}

/// What a server does with a read's worth of requests before it looks at them.
fn decode_requests(buffer: &mut BytesMut, frames: &mut Vec<Bytes>) -> usize {
    let found = frame::split(buffer, FRAME_BYTES_MAX, frames).unwrap_or(0);
    for body in frames.drain(..) {
        let request = RawRequest::split(&body).and_then(|raw| raw.decode());
        black_box(&request);
        assert!(request.is_ok(), "{request:?}");
    }
    found
}

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("requests_decode");
    group.throughput(Throughput::Elements(BATCH));
    for (name, make) in [("set_100", set as fn(u64) -> Request), ("get", get)] {
        let mut read = BytesMut::new();
        for i in 0..BATCH {
            make(i).put(i as i32 + 1, &mut read);
        }
        let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
        group.bench_function(name, |b| {
            b.iter(|| {
                // The copy stands for the kernel's: a read fills the same buffer again.
                buffer.extend_from_slice(&read);
                decode_requests(&mut buffer, &mut frames)
            });
        });
    }
    group.finish();
}

fn replies(c: &mut Criterion) {
    let (data, stat) = (data(), Stat::default());
    let mut out = BytesMut::with_capacity(1 << 16);
    let mut group = c.benchmark_group("replies_encode");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("get_100", |b| {
        b.iter(|| {
            out.clear();
            for i in 0..BATCH {
                let header = ReplyHeader::ok(i as i32, Zxid(i));
                reply::put_data(header, Some(&data), black_box(&stat), &mut out);
            }
            out.len()
        });
    });
    group.bench_function("set", |b| {
        b.iter(|| {
            out.clear();
            for i in 0..BATCH {
                reply::put_stat(
                    ReplyHeader::ok(i as i32, Zxid(i)),
                    black_box(&stat),
                    &mut out,
                );
            }
            out.len()
        });
    });
    group.finish();

    let mut read = BytesMut::new();
    for i in 0..BATCH {
        reply::put_data(
            ReplyHeader::ok(i as i32, Zxid(i)),
            Some(&data),
            &stat,
            &mut read,
        );
    }
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    let mut group = c.benchmark_group("replies_decode");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("get_100", |b| {
        b.iter(|| {
            buffer.extend_from_slice(&read);
            let found = frame::split(&mut buffer, FRAME_BYTES_MAX, &mut frames);
            for body in frames.drain(..) {
                let response = ReplyFrame::split(&body).and_then(|f| f.decode(opcode::GET_DATA));
                assert!(response.is_ok(), "{response:?}");
            }
            found
        });
    });
    group.finish();
}

fn packets(c: &mut Criterion) {
    let payload = vec![b'z'; 180];
    let mut out = BytesMut::with_capacity(1 << 16);
    let mut group = c.benchmark_group("quorum_packets");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("encode_proposal_180", |b| {
        b.iter(|| {
            out.clear();
            for i in 0..BATCH {
                put_packet(
                    PacketKind::Proposal,
                    Zxid(i),
                    Some(black_box(&payload)),
                    None,
                    &mut out,
                );
            }
            out.len()
        });
    });
    let read = out.clone();
    let mut buffer = BytesMut::new();
    group.bench_function("decode_proposal_180", |b| {
        b.iter(|| {
            buffer.extend_from_slice(&read);
            let mut found = 0;
            while let Ok(Some(packet)) = parse(&mut buffer) {
                black_box(packet);
                found += 1;
            }
            assert_eq!(found, BATCH);
        });
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    requests(&mut criterion);
    replies(&mut criterion);
    packets(&mut criterion);
    criterion.final_summary();
}
