//! `zabra snapshot summary`: how many nodes and bytes of data are below a node, and below those under it.

use super::arguments::Output;
use super::error::{FAILED, ToolError};
use super::out::{Out, tell};
use super::tree::{Node, Visitor, above, is_in, key, path_of, visit};
use super::values::path;
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Which snapshot, and how far down.
#[derive(Args)]
pub(super) struct SummaryArgs {
    /// The snapshot, as snapshot.100000001
    file: PathBuf,
    /// Begin with this node
    #[arg(long, value_parser = path, default_value = "/", value_name = "PATH")]
    path: String,
    /// So many levels below it, each node that has children on a line of its own; all levels are counted. 0: every level
    #[arg(long, default_value_t = 1, value_name = "N")]
    depth: usize,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Default, Clone, Copy)]
struct Sum {
    /// Of the subtree, itself left out.
    nodes: u64,
    /// Of the subtree, itself included.
    bytes: u64,
}

struct Sums {
    /// The key of the node that is begun with.
    root: Box<str>,
    /// How many slashes the keys of the deepest nodes have that are printed.
    slashes_max: usize,
    by_key: BTreeMap<Box<str>, Sum>,
}

#[derive(Serialize)]
struct Line {
    path: String,
    children: u64,
    bytes: u64,
}

impl Visitor for Sums {
    fn node(&mut self, node: &Node<'_>) -> Result<(), ToolError> {
        let own = key(node.path);
        if !is_in(&own, &self.root) {
            return Ok(());
        }
        if own == self.root {
            self.by_key.entry(own.clone()).or_default().bytes += node.bytes();
        } else if slashes(&own) <= self.slashes_max && node.bytes() > 0 {
            // It becomes a line only when a child of it comes by.
            self.by_key.entry(own.clone()).or_default().bytes += node.bytes();
        }
        for key in above(&own).filter(|key| is_in(key, &self.root)) {
            if slashes(key) > self.slashes_max {
                break;
            }
            let sum = match self.by_key.get_mut(key) {
                Some(sum) => sum,
                None => self.by_key.entry(key.into()).or_default(),
            };
            sum.nodes += 1;
            sum.bytes += node.bytes();
        }
        Ok(())
    }
}

/// The root has none, though its key is one.
fn slashes(key: &str) -> usize {
    if key == "\0" {
        0
    } else {
        key.matches('\0').count()
    }
}

pub(super) fn run(args: &SummaryArgs) -> Result<u8, ToolError> {
    let root = key(&args.path);
    let top = slashes(&root);
    let mut sums = Sums {
        root: root.clone(),
        slashes_max: if args.depth == 0 {
            usize::MAX
        } else {
            top + args.depth
        },
        by_key: BTreeMap::new(),
    };
    visit(&args.file, &mut sums)?;
    if sums.by_key.is_empty() {
        tell(format_args!(
            "{}: there is no node {}",
            args.file.display(),
            args.path
        ));
        return Ok(FAILED);
    }
    let mut out = Out::new();
    for (key, sum) in sums.by_key {
        if sum.nodes == 0 && key != root {
            continue;
        }
        let path = path_of(&key);
        if args.output == Output::Text {
            let indent = "  ".repeat(slashes(&key) - top);
            out.line(format_args!(
                "{indent}{path}: {} nodes below it, {} bytes of data",
                sum.nodes, sum.bytes
            ))?;
        } else {
            out.json(&Line {
                path,
                children: sum.nodes,
                bytes: sum.bytes,
            })?;
        }
    }
    out.flush()?;
    Ok(0)
}
