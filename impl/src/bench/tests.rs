//! Goal: the generator counts what a server really did, and notices one that lies. Method: runs of a few hundredths of a
//! second against a server of a few lines, which can be told to misbehave.

use super::*;
use crate::wire::client::{ConnectResponse, RawRequest, ReplyHeader, Request, opcode, reply, xid};
use crate::wire::frame;
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::op::{ReadOp, WriteOp};
use zabra_model::tree::stat::Stat;

/// How the server misbehaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Answers every 50th set with an error.
    Refuses,
    /// Answers the 500th request before the one ahead of it.
    SwapsReplies,
    /// Forgets data: gets find empty nodes.
    ForgetsData,
    /// Hangs up after 500 requests.
    HangsUp,
}

type Nodes = Arc<Mutex<HashMap<Box<str>, Bytes>>>;

/// Serves every connection with a thread; the threads end with their connections.
fn serve(manner: Manner) -> std::io::Result<(String, Nodes)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let nodes = Nodes::default();
    let shared = Arc::clone(&nodes);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let nodes = Arc::clone(&shared);
            std::thread::spawn(move || converse(stream, manner, &nodes));
        }
    });
    Ok((address, nodes))
}

fn converse(mut stream: TcpStream, manner: Manner, nodes: &Nodes) -> Option<()> {
    let (mut input, mut chunk, mut count) = (BytesMut::new(), vec![0; 65536], 0_u32);
    loop {
        let n = stream.read(&mut chunk).ok().filter(|n| *n > 0)?;
        input.extend_from_slice(&chunk[..n]);
        let mut frames = vec![];
        frame::split(&mut input, 1 << 20, &mut frames).ok()?;
        let (mut replies, mut out) = (vec![], BytesMut::new());
        for body in frames {
            if count == 0 {
                ConnectResponse {
                    timeout_ms: 30_000,
                    session: SessionId(7),
                    password: [1; 16],
                    read_only: Some(false),
                }
                .put(&mut out);
            } else {
                answer(&body, manner, count, nodes, &mut out)?;
            }
            count += 1;
            replies.push(out.split());
            if manner == Manner::HangsUp && count == 500 {
                return None;
            }
            if manner == Manner::SwapsReplies && count > 500 && replies.len() > 1 {
                let last = replies.len() - 1;
                replies.swap(last, last - 1);
            }
        }
        for reply in replies {
            out.extend_from_slice(&reply);
        }
        stream.write_all(&out).ok()?;
    }
}

fn answer(
    body: &Bytes,
    manner: Manner,
    count: u32,
    nodes: &Nodes,
    out: &mut BytesMut,
) -> Option<()> {
    let raw = RawRequest::split(body).ok()?;
    let mut header = ReplyHeader::ok(raw.header.xid, Zxid(1));
    let mut nodes = nodes.lock().ok()?;
    match raw.decode().ok()? {
        Request::Write(WriteOp::Create { path, data, .. }) => {
            let path = path?;
            match nodes.entry(path) {
                Entry::Occupied(_) => {
                    header.err = -110;
                    reply::put_empty(header, out);
                }
                Entry::Vacant(place) => {
                    reply::put_path(header, Some(place.key()), out);
                    place.insert(data?);
                }
            }
        }
        Request::Write(WriteOp::SetData { path, data, .. }) => {
            if manner == Manner::Refuses && count.is_multiple_of(50) {
                header.err = -102;
                reply::put_empty(header, out);
            } else {
                *nodes.get_mut(&path?)? = data?;
                reply::put_stat(header, &Stat::default(), out);
            }
        }
        Request::Read(ReadOp::GetData { path, .. }) => {
            let data = nodes.get(&path)?;
            let data = (manner != Manner::ForgetsData).then_some(data.as_ref());
            reply::put_data(header, data, &Stat::default(), out);
        }
        Request::Sync { path } => reply::put_path(header, path.as_deref(), out),
        Request::Ping => {
            header.xid = xid::PING;
            reply::put_empty(header, out);
        }
        request if request.opcode() == opcode::CLOSE_SESSION => reply::put_empty(header, out),
        _ => return None,
    }
    Some(())
}

fn run(address: &str, op: Operation) -> Result<Report, BenchError> {
    let args = BenchArgs {
        servers: vec![address.into(), address.into()],
        op,
        connections: 3,
        depth: 8,
        size: 20,
        keys: 100,
        reads: 50,
        seconds: 0.1,
        warmup: 0.02,
        seed: 1,
        session_timeout_ms: 30_000,
        pids: vec![],
        no_prepare: false,
        json: false,
        tls: TlsArgs::default(),
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(measure(&args))
}

/// Sets until a run breaks: a busy machine may not come to the request that is answered wrongly within one window.
fn until_it_breaks(address: &str) -> Result<Report, BenchError> {
    let mut result = run(address, Operation::Set);
    for _ in 0..100 {
        if result.is_err() {
            break;
        }
        result = run(address, Operation::Set);
    }
    result
}

#[test]
fn every_operation_is_counted_and_none_is_wrong() -> Result<(), BenchError> {
    let (address, nodes) = serve(Manner::Honest)?;
    // The first run makes the nodes, the others find them.
    for op in [Operation::Set, Operation::Get, Operation::Mix] {
        let report = run(&address, op)?;
        assert!(report.ops > 0, "{report}");
        assert_eq!((report.errors, report.malformed), (0, 0), "{report}");
        assert_eq!(nodes.lock().map_or(0, |n| n.len()), 101, "/bench, its keys");
        let l = report.latency;
        assert!(l.p50_us > 0.0 && l.p50_us <= l.p99_us && l.p99_us <= l.max_us);
        assert!(report.to_json().contains("\"ops_per_second\":"));
    }
    Ok(())
}

#[test]
fn creates_make_nodes_of_their_own() -> Result<(), BenchError> {
    let (address, nodes) = serve(Manner::Honest)?;
    let report = run(&address, Operation::Create)?;
    assert_eq!(report.errors, 0, "{report}");
    let made = nodes.lock().map_or(0, |n| n.len());
    assert!(made as u64 > report.ops, "{made} nodes, {report}");
    Ok(())
}

#[test]
fn refusals_are_counted_by_code() -> Result<(), BenchError> {
    let (address, _) = serve(Manner::Refuses)?;
    let report = run(&address, Operation::Set)?;
    let refused = report.errors_by_code.get(&-102).copied().unwrap_or(0);
    assert!(refused > 0 && refused * 30 < report.ops, "{report}");
    Ok(())
}

#[test]
fn replies_out_of_order_end_the_run() -> Result<(), BenchError> {
    let (address, _) = serve(Manner::SwapsReplies)?;
    let result = until_it_breaks(&address);
    assert!(
        matches!(result, Err(BenchError::OutOfOrder { .. })),
        "{result:?}"
    );
    Ok(())
}

#[test]
fn a_get_without_the_data_is_noticed() -> Result<(), BenchError> {
    let (address, _) = serve(Manner::ForgetsData)?;
    let report = run(&address, Operation::Get)?;
    assert!(report.malformed > 0, "{report}");
    Ok(())
}

#[test]
fn a_run_whose_connections_all_break_is_an_error() -> Result<(), BenchError> {
    let (address, _) = serve(Manner::HangsUp)?;
    let result = until_it_breaks(&address);
    assert!(
        matches!(
            result,
            Err(BenchError::Closed { .. } | BenchError::Connection { .. })
        ),
        "{result:?}"
    );
    Ok(())
}
