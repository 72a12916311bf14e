//! Captured bytes, as good input to begin with.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folder of captured bytes.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The bytes of a captured line; nothing if it has none.
#[must_use]
pub fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    let pairs = digits.chunks_exact(2);
    pairs.map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// Every line of every capture in a folder.
#[must_use]
pub fn lines(of: &str) -> Vec<Value> {
    let files = std::fs::read_dir(folder().join(of))
        .into_iter()
        .flatten()
        .flatten();
    let mut paths: Vec<PathBuf> = files.map(|file| file.path()).collect();
    paths.sort();
    let texts = paths
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok());
    texts
        .flat_map(|text| {
            let lines = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            lines.collect::<Vec<Value>>()
        })
        .collect()
}

/// What was said in one direction, connection by connection.
#[must_use]
pub fn streams(of: &str, direction: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut open = BTreeMap::<String, Vec<u8>>::new();
    for line in lines(of) {
        let text = |key| line.get(key).and_then(Value::as_str).unwrap_or_default();
        if line.get("meta").is_some() {
            all.extend(std::mem::take(&mut open).into_values());
        }
        if text("dir") == direction {
            let stream = open.entry(text("conn").to_owned()).or_default();
            stream.extend(bytes(text("hex")));
        }
    }
    all.extend(open.into_values());
    all.retain(|stream| !stream.is_empty());
    all
}
