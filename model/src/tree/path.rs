//! Paths: what a client may name, and how a path falls into parent and name.
//!
//! The root is kept as `""`, as ZooKeeper's snapshots do; clients write `/`.

use super::error::ErrorCode;

/// Nodes that exist from birth and cannot be deleted.
pub const SPECIAL: [&str; 4] = ["/", ZOOKEEPER, QUOTA, CONFIG];
/// The parent of the service's own nodes.
pub const ZOOKEEPER: &str = "/zookeeper";
/// The parent of quotas.
pub const QUOTA: &str = "/zookeeper/quota";
/// The node that shows the ensemble's configuration.
pub const CONFIG: &str = "/zookeeper/config";

/// The path under which a node is kept: `/` is the root, which is kept as `""`.
#[must_use]
pub fn canonical(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

/// The path clients know: the inverse of [`canonical`].
#[must_use]
pub fn shown(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// Everything before the last slash and everything behind it; `None` without a slash.
#[must_use]
pub fn split(path: &str) -> Option<(&str, &str)> {
    // Over bytes: what the standard library does for any pattern takes several times as long, and this is done for each node that is made.
    let slash = path.bytes().rposition(|byte| byte == b'/')?;
    Some((path.get(..slash)?, path.get(slash + 1..)?))
}

/// The full rule, for paths that a write names or makes.
///
/// Errors: [`ErrorCode::BadArguments`]. Source: ZooKeeper `PathUtils.validatePath`, which tests UTF-16 units, so that every
/// character outside the basic plane (a pair of surrogates there) is refused.
pub fn validate(path: &str) -> Result<(), ErrorCode> {
    if path == "/" {
        return Ok(());
    }
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') || bytes.last() == Some(&b'/') {
        return Err(ErrorCode::BadArguments);
    }
    // Every write does this, so it is one pass that looks at many bytes together. Only what looks odd to it is looked at closely.
    let pairs = bytes.split_last().map_or(bytes, |(_, before)| before);
    let pairs = pairs.chunks(BLOCK).zip(bytes[1..].chunks(BLOCK));
    if pairs.fold(false, |odd, (before, after)| odd | is_odd(before, after)) {
        validate_closely(path)
    } else {
        Ok(())
    }
}

/// So many bytes of a path are looked at together.
const BLOCK: usize = 16;

/// Whether some of these bytes, at most a block of them, look odd behind those before them.
fn is_odd(before: &[u8], bytes: &[u8]) -> bool {
    // Always a whole block, so that there is nothing to branch on: it is filled up with what is not odd.
    let whole = |some: &[u8]| {
        let mut block = [b'a'; BLOCK];
        block[..some.len()].copy_from_slice(some);
        block
    };
    let pairs = whole(before).into_iter().zip(whole(bytes));
    pairs.fold(false, |odd, (before, byte)| {
        let is_plain = (0x20..0x7f).contains(&byte);
        let repeats = (before == b'/') & ((byte == b'/') | (byte == b'.'));
        odd | !is_plain | repeats
    })
}

/// The same, character by character.
fn validate_closely(path: &str) -> Result<(), ErrorCode> {
    let element_ok = |e: &str| !matches!(e, "" | "." | "..");
    let mut elements = path.split('/').skip(1);
    if elements.all(element_ok) && path.chars().all(is_allowed) {
        Ok(())
    } else {
        Err(ErrorCode::BadArguments)
    }
}

fn is_allowed(c: char) -> bool {
    !matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..)
}

/// The parent of a node to be made. Only slash and NUL are tested: the parent is looked up before the rest of the rule.
///
/// Errors: [`ErrorCode::BadArguments`].
pub fn parent_for_create(path: &str) -> Result<&str, ErrorCode> {
    match split(path) {
        Some((parent, _)) if !path.contains('\0') => Ok(parent),
        _ => Err(ErrorCode::BadArguments),
    }
}

/// The parent of a node to be deleted.
///
/// Errors: [`ErrorCode::BadArguments`], also for the nodes of [`SPECIAL`].
pub fn parent_for_delete(path: &str) -> Result<&str, ErrorCode> {
    if SPECIAL.contains(&path) {
        return Err(ErrorCode::BadArguments);
    }
    parent_for_create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_rule_refuses_what_zookeeper_refuses() {
        for good in ["/", "/a", "/a/b", "/a.b/..c", "/ümläut", "/a/\u{fffd}"] {
            let expected = if good.contains('\u{fffd}') {
                Err(ErrorCode::BadArguments)
            } else {
                Ok(())
            };
            assert_eq!(validate(good), expected, "{good:?}");
        }
        for bad in [
            "",
            "e",
            "/e/",
            "//",
            "/e//x",
            "/e/./x",
            "/e/../x",
            "/.",
            "/e/\0x",
            "/e/\u{1}x",
            "/\u{7f}",
            "/\u{9f}",
            "/\u{e000}",
            "/\u{1f600}",
        ] {
            assert_eq!(validate(bad), Err(ErrorCode::BadArguments), "{bad:?}");
        }
    }

    #[test]
    fn one_pass_over_the_bytes_says_what_a_close_look_says() {
        let plain =
            |path: &str| path == "/" || path.starts_with('/') && validate_closely(path).is_ok();
        let letters = ["/", ".", "a", "\0", "\u{7f}", "\u{85}", "é", "\u{e000}"];
        let mut paths = alloc::vec![alloc::string::String::new()];
        let mut done = 0;
        for _ in 0..5 {
            let longer: alloc::vec::Vec<_> = paths
                .iter()
                .skip(done)
                .flat_map(|path| letters.map(|letter| alloc::format!("{path}{letter}")))
                .collect();
            done = paths.len();
            paths.extend(longer);
        }
        assert!(paths.len() > 37_000);
        for path in paths {
            assert_eq!(validate(&path).is_ok(), plain(&path), "{path:?}");
        }
    }

    /// At the borders of the blocks above all.
    #[test]
    fn what_is_odd_is_seen_wherever_it_stands() {
        for odd in ["", "//", "/./", "/..", "/.", "\0", "\u{7f}", "é", "\u{9f}"] {
            for (before, after) in (0..40).flat_map(|b| (0..40).map(move |a| (b, a))) {
                let path = alloc::format!("/{}{odd}{}", "b".repeat(before), "b".repeat(after));
                let closely =
                    path == "/" || !path.ends_with('/') && validate_closely(&path).is_ok();
                assert_eq!(validate(&path).is_ok(), closely, "{path:?}");
            }
        }
    }

    #[test]
    fn deleting_looks_only_at_slash_nul_and_the_special_nodes() {
        assert_eq!(parent_for_delete("/a/b"), Ok("/a"));
        assert_eq!(parent_for_delete("/a//"), Ok("/a/"));
        for bad in [
            "",
            "relative",
            "/",
            "/zookeeper",
            "/zookeeper/quota",
            "/zookeeper/config",
            "/a\0",
        ] {
            assert_eq!(
                parent_for_delete(bad),
                Err(ErrorCode::BadArguments),
                "{bad:?}"
            );
        }
    }
}
