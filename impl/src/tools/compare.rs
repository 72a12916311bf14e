//! `zabra snapshot compare`: in what two snapshots differ, node by node, or which subtrees have grown.

use super::arguments::Output;
use super::error::ToolError;
use super::out::Out;
use super::tree::{Node, Visitor, above, is_in, key, path_of, visit};
use super::values::{is_under, path};
use clap::Args;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::PathBuf;
use zabra_model::ids::Zxid;
use zabra_model::tree::stat::{Owner, StatPersisted};

/// The two snapshots, and what of them.
#[derive(Args)]
pub(super) struct CompareArgs {
    /// One snapshot, as snapshot.100000001
    left: PathBuf,
    /// The other one
    right: PathBuf,
    /// Only this node and those below it
    #[arg(long, value_parser = path, default_value = "/", value_name = "PATH")]
    path: String,
    /// Leave out the nodes of sessions
    #[arg(long)]
    no_ephemerals: bool,
    /// Leave out differences of versions, zxids and times alone
    #[arg(long)]
    no_stat: bool,
    /// Tell of subtrees instead of nodes: those whose data differs by more than so many bytes
    #[arg(short, long, value_name = "N")]
    bytes: Option<u64>,
    /// Tell of subtrees instead of nodes: those which differ by more than so many nodes
    #[arg(short, long, value_name = "N")]
    nodes: Option<u64>,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What is held of a node.
#[derive(Clone, PartialEq, Eq)]
struct Facts {
    bytes: u64,
    /// Of the data, and of whether there is any.
    data: [u8; 16],
    acl: [u8; 16],
    stat: StatPersisted,
}

/// A node or a subtree in both snapshots.
#[derive(Default)]
struct Pair {
    facts: [Option<Box<Facts>>; 2],
    /// With all below it.
    bytes: [u64; 2],
    nodes: [u64; 2],
}

struct Pairs<'a> {
    args: &'a CompareArgs,
    side: usize,
    by_key: BTreeMap<Box<str>, Pair>,
}

impl Visitor for Pairs<'_> {
    fn node(&mut self, node: &Node<'_>) -> Result<(), ToolError> {
        let is_of_session = matches!(
            Owner::from_raw(node.stat.ephemeral_owner),
            Owner::Session(_)
        );
        if !is_under(node.path, &self.args.path) || self.args.no_ephemerals && is_of_session {
            return Ok(());
        }
        let own = key(node.path);
        if self.args.sums_up() {
            let root = key(&self.args.path);
            for key in above(&own).filter(|key| is_in(key, &root)).chain([&*own]) {
                let pair = match self.by_key.get_mut(key) {
                    Some(pair) => pair,
                    None => self.by_key.entry(key.into()).or_default(),
                };
                pair.bytes[self.side] += node.bytes();
                pair.nodes[self.side] += 1;
            }
            return Ok(());
        }
        let acl: String = node
            .acl
            .iter()
            .map(|e| format!("{} {:?} {:?},", e.perms, e.id.scheme, e.id.id))
            .collect();
        let pair = self.by_key.entry(own).or_default();
        pair.facts[self.side] = Some(Box::new(Facts {
            bytes: node.bytes(),
            data: sum(&[
                &[u8::from(node.data.is_some())],
                node.data.unwrap_or_default(),
            ]),
            acl: sum(&[acl.as_bytes()]),
            stat: node.stat,
        }));
        Ok(())
    }
}

/// Half of a SHA-256: two that differ are not taken for equal.
fn sum(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

impl CompareArgs {
    const fn sums_up(&self) -> bool {
        self.bytes.is_some() || self.nodes.is_some()
    }
}

/// A difference, for programs.
#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    #[serde(rename = "in")]
    side: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    differs: &'a [&'static str],
    bytes: [Option<u64>; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mzxid: Option<[String; 2]>,
}

/// How many differences of each kind there are.
#[derive(Serialize, Default)]
struct Total {
    left_only: u64,
    right_only: u64,
    changed: u64,
    equal: u64,
}

pub(super) fn run(args: &CompareArgs) -> Result<u8, ToolError> {
    let mut pairs = Pairs {
        args,
        side: 0,
        by_key: BTreeMap::new(),
    };
    let mut zxids = [Zxid::ZERO; 2];
    for (side, file) in [&args.left, &args.right].into_iter().enumerate() {
        pairs.side = side;
        zxids[side] = visit(file, &mut pairs)?.zxid;
    }
    let mut out = Out::new();
    let mut total = Total::default();
    for (key, pair) in pairs.by_key {
        let path = path_of(&key);
        if args.sums_up() {
            subtree(args, &mut out, &path, &pair, &mut total)?;
        } else {
            node(args, &mut out, &path, &pair, &mut total)?;
        }
    }
    let differences = total.left_only + total.right_only + total.changed;
    if args.output == Output::Json {
        out.json(&total)?;
    } else if args.sums_up() {
        out.line(format_args!(
            "{differences} subtrees differ by more than that, of {} to {}",
            zxids[0], zxids[1]
        ))?;
    } else {
        let Total {
            left_only,
            right_only,
            changed,
            equal,
        } = total;
        out.line(format_args!(
            "{left_only} nodes only in the left one, of {}; {right_only} only in the right one, of {}; {changed} differ; {equal} are equal",
            zxids[0], zxids[1]
        ))?;
    }
    out.flush()?;
    Ok(u8::from(differences > 0))
}

/// Tells of a subtree that differs by more than was asked for.
fn subtree(
    args: &CompareArgs,
    out: &mut Out,
    path: &str,
    pair: &Pair,
    total: &mut Total,
) -> Result<(), ToolError> {
    let by = |of: [u64; 2]| of[0].abs_diff(of[1]);
    let differs = args.bytes.is_some_and(|most| by(pair.bytes) > most)
        || args.nodes.is_some_and(|most| by(pair.nodes) > most);
    if !differs {
        total.equal += 1;
        return Ok(());
    }
    let side = match pair.nodes {
        [_, 0] => "left",
        [0, _] => "right",
        _ => "both",
    };
    match side {
        "left" => total.left_only += 1,
        "right" => total.right_only += 1,
        _ => total.changed += 1,
    }
    if args.output == Output::Json {
        return out.json(&Line {
            path,
            side,
            differs: &[],
            bytes: pair.bytes.map(Some),
            nodes: Some(pair.nodes),
            mzxid: None,
        });
    }
    let [bytes, other_bytes] = pair.bytes;
    let [nodes, other_nodes] = pair.nodes;
    out.line(format_args!(
        "{path}: {nodes} to {other_nodes} nodes, {bytes} to {other_bytes} bytes of data"
    ))
}

/// Tells of a node that is in one of them, or not the same in both.
fn node(
    args: &CompareArgs,
    out: &mut Out,
    path: &str,
    pair: &Pair,
    total: &mut Total,
) -> Result<(), ToolError> {
    let (side, differs, text) = match &pair.facts {
        [Some(left), Some(right)] => {
            let mut differs = Vec::new();
            let mut text = Vec::new();
            if left.data != right.data {
                differs.push("data");
                text.push(format!("data, {} to {} bytes", left.bytes, right.bytes));
            }
            if left.acl != right.acl {
                differs.push("acl");
                text.push("acl".to_owned());
            }
            if left.stat != right.stat && !args.no_stat {
                differs.push("stat");
                text.push(format!("stat, {}", stats(&left.stat, &right.stat)));
            }
            if differs.is_empty() {
                total.equal += 1;
                return Ok(());
            }
            total.changed += 1;
            ("both", differs, format!("differs in {}", text.join("; ")))
        }
        [Some(left), None] => {
            total.left_only += 1;
            (
                "left",
                vec![],
                format!("only in the left one, {} bytes", left.bytes),
            )
        }
        [None, Some(right)] => {
            total.right_only += 1;
            (
                "right",
                vec![],
                format!("only in the right one, {} bytes", right.bytes),
            )
        }
        [None, None] => return Ok(()),
    };
    if args.output == Output::Text {
        return out.line(format_args!("{path}: {text}"));
    }
    let [left, right] = &pair.facts;
    let mzxid = |facts: &Facts| facts.stat.mzxid.to_string();
    out.json(&Line {
        path,
        side,
        differs: &differs,
        bytes: [left, right].map(|facts| facts.as_ref().map(|facts| facts.bytes)),
        nodes: None,
        mzxid: left
            .as_ref()
            .zip(right.as_ref())
            .map(|(left, right)| [mzxid(left), mzxid(right)]),
    })
}

/// What of two Stats differs.
fn stats(left: &StatPersisted, right: &StatPersisted) -> String {
    let zxid = |zxid: Zxid| zxid.to_string();
    let rows = [
        ("czxid", zxid(left.czxid), zxid(right.czxid)),
        ("mzxid", zxid(left.mzxid), zxid(right.mzxid)),
        ("pzxid", zxid(left.pzxid), zxid(right.pzxid)),
        ("ctime", left.ctime.to_string(), right.ctime.to_string()),
        ("mtime", left.mtime.to_string(), right.mtime.to_string()),
        (
            "version",
            left.version.to_string(),
            right.version.to_string(),
        ),
        (
            "cversion",
            left.cversion.to_string(),
            right.cversion.to_string(),
        ),
        (
            "aversion",
            left.aversion.to_string(),
            right.aversion.to_string(),
        ),
        (
            "owner",
            format!("{:#x}", left.ephemeral_owner),
            format!("{:#x}", right.ephemeral_owner),
        ),
    ];
    let differs = rows.into_iter().filter(|(_, left, right)| left != right);
    let words: Vec<_> = differs
        .map(|(name, left, right)| format!("{name} {left} to {right}"))
        .collect();
    words.join(", ")
}
