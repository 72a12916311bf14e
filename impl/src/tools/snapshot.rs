//! `zabra snapshot`: the nodes and sessions of a snapshot, as they lie in the file.

use super::error::ToolError;
use super::out::Out;
use super::tree::{Node, Visitor, is_in, key, path_of, visit};
use super::txn::plain;
use super::values::{AclJson, Encoding, acl_json, acl_text, is_under, path, shown_time};
use super::{compare, summary};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use zabra_model::ids::{SessionId, Zxid};
use zabra_model::tree::stat::Owner;

/// Which snapshot, and what of it.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SnapshotArgs {
    #[command(subcommand)]
    command: Option<SnapshotCommand>,
    #[command(flatten)]
    print: PrintArgs,
}

#[derive(Subcommand)]
enum SnapshotCommand {
    /// Tell in what two snapshots differ. Exit code 0: in nothing; 1: they differ; 3: one cannot be read
    ///
    /// Paths and checksums of the nodes are held in memory, and no data.
    Compare(compare::CompareArgs),
    /// Tell how many nodes and bytes of data there are below a node
    Summary(summary::SummaryArgs),
}

#[derive(Args)]
struct PrintArgs {
    /// The snapshot, as snapshot.100000001
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// Only this node and those below it; may be said several times
    #[arg(long, value_parser = path, value_name = "PATH")]
    path: Vec<String>,
    /// Print data, too, and not only how many bytes there are
    #[arg(long, value_enum, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "base64")]
    data: Option<Encoding>,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
}

/// How a snapshot is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Form {
    /// For people
    Text,
    /// For programs: one JSON document a line
    Json,
    /// For ncdu, which shows where the bytes are: ncdu -f FILE. Paths are held in memory
    Ncdu,
}

#[derive(Serialize)]
struct NodeJson<'a> {
    node: &'a str,
    kind: &'static str,
    /// Of data; absent where there is none, which is something else than no bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    acl: Vec<AclJson<'a>>,
    czxid: String,
    mzxid: String,
    pzxid: String,
    ctime: i64,
    mtime: i64,
    version: i32,
    cversion: i32,
    aversion: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<i64>,
}

#[derive(Serialize)]
struct SessionJson {
    session: String,
    timeout_ms: i32,
    ephemerals: u64,
}

#[derive(Serialize)]
struct EndJson<'a> {
    snapshot: &'a str,
    zxid: String,
    /// Above `zxid` in a snapshot that ZooKeeper took while its tree changed.
    newest: String,
    nodes: u64,
    bytes: u64,
    sessions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest_zxid: Option<String>,
}

pub(super) fn run(args: &SnapshotArgs) -> Result<u8, ToolError> {
    match (&args.command, &args.print.file) {
        (Some(SnapshotCommand::Compare(args)), _) => compare::run(args),
        (Some(SnapshotCommand::Summary(args)), _) => summary::run(args),
        (None, Some(file)) if args.print.output == Form::Ncdu => ncdu(file, &args.print),
        (None, Some(file)) => print(file, &args.print),
        (None, None) => Err(ToolError::Refused(
            "no snapshot; name a file, as snapshot.100000001".into(),
        )),
    }
}

/// Prints what comes by.
struct Printing<'a> {
    args: &'a PrintArgs,
    out: Out,
    /// Timeout and nodes of each session.
    sessions: HashMap<SessionId, (i32, u64)>,
    /// In the order of the file.
    order: Vec<SessionId>,
    nodes: u64,
    bytes: u64,
}

impl Visitor for Printing<'_> {
    fn session(&mut self, id: SessionId, timeout_ms: i32) -> Result<(), ToolError> {
        self.order.push(id);
        self.sessions.insert(id, (timeout_ms, 0));
        Ok(())
    }

    fn node(&mut self, node: &Node<'_>) -> Result<(), ToolError> {
        let owner = Owner::from_raw(node.stat.ephemeral_owner);
        if let Owner::Session(session) = owner
            && let Some((_, nodes)) = self.sessions.get_mut(&session)
        {
            *nodes += 1;
        }
        self.nodes += 1;
        self.bytes += node.bytes();
        if !self.args.wants(node.path) {
            return Ok(());
        }
        if self.args.output == Form::Text {
            self.text(node, owner)
        } else {
            self.out.json(&json(node, owner, self.args.data))
        }
    }
}

impl Printing<'_> {
    fn text(&mut self, node: &Node<'_>, owner: Owner) -> Result<(), ToolError> {
        let stat = &node.stat;
        let kind = match owner {
            Owner::Session(session) => format!("ephemeral of session {session}"),
            Owner::Ttl(ms) => format!("ttl of {ms} ms"),
            Owner::None | Owner::Container => node.kind().to_owned(),
        };
        let data = match (node.data, self.args.data) {
            (None, _) => "no data".to_owned(),
            (Some(data), None) => format!("{} bytes", data.len()),
            (Some(data), Some(encoding)) => {
                format!("{} bytes {}", data.len(), encoding.shown(data))
            }
        };
        self.out
            .line(format_args!("{}\n  {kind}, {data}", plain(node.path)))?;
        self.out.line(format_args!(
            "  created {} {}, changed {} {}, children {}",
            stat.czxid,
            shown_time(stat.ctime),
            stat.mzxid,
            shown_time(stat.mtime),
            stat.pzxid,
        ))?;
        self.out.line(format_args!(
            "  version {}, cversion {}, aversion {}, acl {}",
            stat.version,
            stat.cversion,
            stat.aversion,
            plain(&acl_text(&node.acl)),
        ))
    }

    fn sessions(&mut self) -> Result<(), ToolError> {
        for id in std::mem::take(&mut self.order) {
            let (timeout_ms, nodes) = self.sessions.get(&id).copied().unwrap_or_default();
            if self.args.output == Form::Text {
                self.out.line(format_args!(
                    "session {id} timeout {timeout_ms} ms, {nodes} ephemeral nodes"
                ))?;
            } else {
                self.out.json(&SessionJson {
                    session: id.to_string(),
                    timeout_ms,
                    ephemerals: nodes,
                })?;
            }
        }
        Ok(())
    }
}

fn print(file: &Path, args: &PrintArgs) -> Result<u8, ToolError> {
    let mut printing = Printing {
        args,
        out: Out::new(),
        sessions: HashMap::new(),
        order: Vec::new(),
        nodes: 0,
        bytes: 0,
    };
    let facts = visit(file, &mut printing);
    if facts.is_err() {
        // What comes before the damage is printed before the damage is told.
        printing.out.flush()?;
    }
    let facts = facts?;
    let sessions = printing.order.len();
    if args.path.is_empty() {
        printing.sessions()?;
    }
    let (nodes, bytes) = (printing.nodes, printing.bytes);
    if args.output == Form::Text {
        let newest = if facts.newest > facts.zxid {
            format!(", with changes up to {}", facts.newest)
        } else {
            String::new()
        };
        let digest = facts.digest.map_or(String::new(), |(zxid, digest)| {
            format!(", digest {digest:#x} at {zxid}")
        });
        printing.out.line(format_args!(
            "snapshot of {}{newest}: {nodes} nodes, {bytes} bytes of data, {sessions} sessions{digest}",
            facts.zxid
        ))?;
    } else {
        printing.out.json(&EndJson {
            snapshot: &file.to_string_lossy(),
            zxid: facts.zxid.to_string(),
            newest: facts.newest.to_string(),
            nodes,
            bytes,
            sessions,
            digest: facts.digest.map(|(_, digest)| format!("{digest:#x}")),
            digest_zxid: facts.digest.map(|(zxid, _)| zxid.to_string()),
        })?;
    }
    printing.out.flush()?;
    Ok(0)
}

fn json<'a>(node: &'a Node<'_>, owner: Owner, encoding: Option<Encoding>) -> NodeJson<'a> {
    let stat = &node.stat;
    let text = |zxid: Zxid| zxid.to_string();
    NodeJson {
        node: node.path,
        kind: node.kind(),
        bytes: node.data.map(<[u8]>::len),
        data: encoding
            .zip(node.data)
            .map(|(encoding, data)| encoding.of(data)),
        acl: acl_json(&node.acl),
        czxid: text(stat.czxid),
        mzxid: text(stat.mzxid),
        pzxid: text(stat.pzxid),
        ctime: stat.ctime,
        mtime: stat.mtime,
        version: stat.version,
        cversion: stat.cversion,
        aversion: stat.aversion,
        session: match owner {
            Owner::Session(session) => Some(session.to_string()),
            Owner::None | Owner::Container | Owner::Ttl(_) => None,
        },
        ttl_ms: match owner {
            Owner::Ttl(ms) => Some(ms),
            Owner::None | Owner::Container | Owner::Session(_) => None,
        },
    }
}

impl PrintArgs {
    fn wants(&self, path: &str) -> bool {
        self.path.is_empty() || self.path.iter().any(|root| is_under(path, root))
    }
}

/// The bytes of each node, by its key.
struct Sizes<'a>(&'a PrintArgs, BTreeMap<Box<str>, u64>);

impl Visitor for Sizes<'_> {
    fn node(&mut self, node: &Node<'_>) -> Result<(), ToolError> {
        if self.0.wants(node.path) {
            self.1.insert(key(node.path), node.bytes());
        }
        Ok(())
    }
}

/// What ncdu exports and imports: a list for each directory, which begins with itself.
fn ncdu(file: &Path, args: &PrintArgs) -> Result<u8, ToolError> {
    if args.path.len() > 1 {
        let what = "ncdu shows one tree: name one --path";
        return Err(ToolError::Refused(what.into()));
    }
    let mut sizes = Sizes(args, BTreeMap::new());
    visit(file, &mut sizes)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let head = serde_json::json!({
        "progname": "zabra",
        "progver": env!("CARGO_PKG_VERSION"),
        "timestamp": now.map_or(0, |now| now.as_secs()),
    });
    let mut out = Out::new();
    out.text(&format!("[1,0,{head}"))?;
    let mut open: Vec<Box<str>> = Vec::new();
    let mut all = sizes.1.into_iter().peekable();
    while let Some((key, bytes)) = all.next() {
        while open.last().is_some_and(|dir| !is_in(&key, dir)) {
            open.pop();
            out.text("]")?;
        }
        let path = path_of(&key);
        let within = open.last().map(|dir| path_of(dir));
        let name = within
            .and_then(|dir| path.strip_prefix(&*dir))
            .map_or(&*path, |name| name.trim_start_matches('/'));
        let name = serde_json::json!({ "name": name, "asize": bytes, "dsize": bytes });
        let is_dir = open.is_empty() || all.peek().is_some_and(|(next, _)| is_in(next, &key));
        out.text(&format!(",\n{}{name}", if is_dir { "[" } else { "" }))?;
        if is_dir {
            open.push(key);
        }
    }
    out.text(&"]".repeat(open.len() + 1))?;
    out.text("\n")?;
    out.flush()?;
    Ok(0)
}
