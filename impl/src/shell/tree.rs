//! What is below a node.

use super::failure::Failure;
use super::path;
use zookeeper_client::{Client, Error};

/// All nodes from `root` down, each behind its parent.
pub(super) async fn breadth_first(client: &Client, root: &str) -> Result<Vec<String>, Failure> {
    let mut tree = vec![root.to_owned()];
    let mut next = 0;
    while let Some(node) = tree.get(next).cloned() {
        match client.list_children(&node).await {
            Ok(children) => tree.extend(children.iter().map(|c| path::join(&node, c))),
            // Somebody else was faster.
            Err(Error::NoNode) if next > 0 => {}
            Err(error) => return Err(Failure::of(&error, &node)),
        }
        next += 1;
    }
    Ok(tree)
}
