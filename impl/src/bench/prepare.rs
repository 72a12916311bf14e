//! Makes the nodes that a run needs.

use super::args::{BenchArgs, Operation};
use super::connection::Connection;
use super::error::BenchError;
use super::template::{Template, create};
use crate::runtime::secure_client::SecureClient;
use bytes::Bytes;
use zabra_model::tree::error::ErrorCode;

/// Where all nodes are.
pub(super) const ROOT: &str = "/bench";

/// Requests in flight while the nodes are made: more than a sync's worth, less than any server's limit.
const DEPTH: usize = 500;

/// The templates of a run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// What a request does, and what it does in the share `reads` of a mix.
    pub(super) write: Template,
    pub(super) read: Template,
    /// Reads in 100 requests.
    pub(super) reads: u32,
    /// Nodes to choose from; `None`: each request has a node of its own.
    pub(super) keys: Option<u64>,
    /// Bytes in each node.
    pub(super) data_bytes: usize,
}

/// Makes `/bench` and the nodes below it, each with `size` bytes.
pub(super) async fn prepare(
    args: &BenchArgs,
    tls: Option<&SecureClient>,
    run: u64,
) -> Result<Plan, BenchError> {
    let data = Bytes::from(vec![b'z'; args.size as usize]);
    let server = args.servers.first().ok_or(BenchError::NoServers)?;
    let mut connection = Connection::open(server, tls, args.session_timeout_ms).await?;
    make_parent(&mut connection, ROOT).await?;
    let keys = format!("{ROOT}/k");
    let plan = match args.op {
        Operation::Create => {
            let parent = format!("{ROOT}/run-{run:x}");
            make_parent(&mut connection, &parent).await?;
            let prefix = format!("{parent}/n");
            Plan {
                write: Template::create(&prefix, &data),
                read: Template::get(&keys),
                reads: 0,
                keys: None,
                data_bytes: data.len(),
            }
        }
        Operation::Set | Operation::Get | Operation::Mix => {
            if !args.no_prepare {
                make_keys(&mut connection, &keys, args.keys, &data).await?;
            }
            Plan {
                write: Template::set(&keys, &data),
                read: Template::get(&keys),
                reads: match args.op {
                    Operation::Get => 100,
                    Operation::Mix => args.reads,
                    Operation::Set | Operation::Create => 0,
                },
                keys: Some(args.keys.into()),
                data_bytes: data.len(),
            }
        }
    };
    connection.close().await;
    Ok(plan)
}

async fn make_parent(connection: &mut Connection, path: &str) -> Result<(), BenchError> {
    let request = create(path, &Bytes::new());
    let mut code = 0;
    connection
        .pipeline(
            1,
            1,
            |_, xid, out| request.put(xid, out),
            |_, err| code = err,
        )
        .await?;
    refused(connection, "create the parent node", code)
}

async fn make_keys(
    connection: &mut Connection,
    prefix: &str,
    keys: u32,
    data: &Bytes,
) -> Result<(), BenchError> {
    let create = Template::create(prefix, data);
    let (mut found, mut code) = (Vec::new(), 0);
    connection
        .pipeline(
            keys.into(),
            DEPTH,
            |node, xid, out| create.put(xid, node, out),
            |node, err| match err {
                0 => {}
                err if err == NODE_EXISTS => found.push(node),
                err => code = err,
            },
        )
        .await?;
    refused(connection, "create the nodes", code)?;
    // Of an earlier run, perhaps with another size: a get must find this run's.
    let set = Template::set(prefix, data);
    connection
        .pipeline(
            found.len() as u64,
            DEPTH,
            |i, xid, out| {
                let node = usize::try_from(i).ok().and_then(|i| found.get(i));
                set.put(xid, node.copied().unwrap_or(0), out);
            },
            |_, err| code = err,
        )
        .await?;
    refused(connection, "set the nodes", code)
}

const NODE_EXISTS: i32 = ErrorCode::NodeExists as i32;

pub(super) fn refused(
    connection: &Connection,
    what: &'static str,
    code: i32,
) -> Result<(), BenchError> {
    match code {
        0 => Ok(()),
        code if code == NODE_EXISTS => Ok(()),
        code => Err(BenchError::Refused {
            server: connection.server.clone(),
            what,
            code,
        }),
    }
}
