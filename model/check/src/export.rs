//! `zabra-check export`: writes the traces that running servers are held against.

use crate::configuration::configuration;
use crate::out::say;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use zabra_check::checker::action::WITNESSES;
use zabra_check::checker::list_steps::STEPS;
use zabra_check::checker::model::Zab;
use zabra_check::checker::trace;
use zabra_check::checker::walk;

/// FNV-1a of 64 bits: tells whether a stored trace was touched by accident.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Removes the walks of an earlier export of this configuration that are not among the new ones.
fn remove_older(
    out: &Path,
    configuration: &str,
    new: &BTreeMap<String, String>,
) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}", out.display());
    for file in std::fs::read_dir(out).map_err(failed)? {
        let file = file.map_err(failed)?;
        let name = file.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix(configuration);
        let number = number.and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".ndjson"));
        let is_walk = number.is_some_and(|n| n.len() >= 3 && n.bytes().all(|b| b.is_ascii_digit()));
        if is_walk && !new.contains_key(&*name) {
            std::fs::remove_file(file.path()).map_err(failed)?;
        }
    }
    Ok(())
}

pub(crate) fn export(
    name: &str,
    out: &Path,
    (traces, tries, steps, seed): (usize, usize, usize, u64),
) -> Result<bool, String> {
    let b = configuration(name)?;
    let model = Zab::new(b);
    std::fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
    let kept = if b.lists_in_files {
        walk::walks_of_lists(&model, seed, tries, steps, traces)
    } else {
        walk::walks(&model, seed, tries, steps, traces)
    };
    let mut seen = 0_u64;
    let mut hashes = BTreeMap::new();
    for (n, walk) in kept.iter().enumerate() {
        let file = format!("{}-{:03}.ndjson", b.name, n + 1);
        let path = out.join(&file);
        let Some(mut cluster) = model.initial().into_iter().nth(walk.initial) else {
            continue;
        };
        let about = walk.news.join("; ");
        let header = trace::header(&model, &cluster, walk.initial, &about);
        let mut text = format!("{}\n", json!(header));
        for (n, action) in walk.actions.iter().enumerate() {
            let (step, _, witnessed) = trace::record(&model, &mut cluster, n + 1, *action);
            seen |= witnessed;
            text.push_str(&format!("{}\n", json!(step)));
        }
        hashes.insert(file, format!("{:016x}", fnv1a(text.as_bytes())));
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    remove_older(out, b.name, &hashes)?;
    let command = format!(
        "zabra-check export {name} --out DIR --traces {traces} --tries {tries} --steps {steps} --seed {seed}"
    );
    let manifest = json!({"command": command, "hash": "FNV-1a, 64 bits", "traces": hashes});
    let path = out.join("manifest.json");
    let text = serde_json::to_string_pretty(&manifest).unwrap_or_default() + "\n";
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    let names = |want: bool| {
        let list = WITNESSES
            .iter()
            .enumerate()
            .filter(|(i, _)| (seen >> i & 1 == 1) == want);
        list.map(|(_, w)| *w).collect::<Vec<_>>().join(", ")
    };
    say!("{} traces in {}", kept.len(), out.display());
    if b.lists_in_files {
        for step in STEPS {
            let count = kept
                .iter()
                .filter(|w| w.news.iter().any(|n| n == step))
                .count();
            say!("  {count:>3}  {step}");
        }
    }
    say!("  they show: {}", names(true));
    say!("  they do not show: {}", names(false));
    Ok(true)
}
