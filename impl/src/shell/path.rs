//! Which paths are none, seen before a server is asked, and in the words of ZooKeeper's client.

use super::failure::Failure;

/// Whether it can name a node.
pub(super) fn check(path: &str) -> Result<(), Failure> {
    check_sequential(path, false)
}

/// A sequential node's path may end in a slash, because a number follows.
pub(super) fn check_sequential(path: &str, sequential: bool) -> Result<(), Failure> {
    let whole = if sequential {
        format!("{path}1")
    } else {
        path.to_owned()
    };
    let says = if whole.is_empty() {
        "Path length must be > 0".to_owned()
    } else if !whole.starts_with('/') {
        "Path must start with / character".to_owned()
    } else if whole.len() > 1 && whole.ends_with('/') {
        "Path must not end with / character".to_owned()
    } else if let Some(cause) = bad_character(&whole) {
        format!("Invalid path string \"{whole}\" caused by {cause}")
    } else {
        return Ok(());
    };
    Err(Failure::refused(says))
}

/// The first character that no path has, with its place, counted in UTF-16 as Java counts.
fn bad_character(path: &str) -> Option<String> {
    let units: Vec<u16> = path.encode_utf16().collect();
    let (slash, dot) = (u16::from(b'/'), u16::from(b'.'));
    let ends = |at: usize| units.get(at).is_none_or(|u| *u == slash);
    (1..units.len()).find_map(|at| {
        let (unit, before) = (units[at], units[at - 1]);
        let cause = match unit {
            0 => "null character not allowed",
            _ if unit == slash && before == slash => "empty node name specified",
            _ if unit == dot && before == dot => {
                if at < 2 || units[at - 2] != slash || !ends(at + 1) {
                    return None;
                }
                "relative paths not allowed"
            }
            _ if unit == dot => {
                if before != slash || !ends(at + 1) {
                    return None;
                }
                "relative paths not allowed"
            }
            0x1..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0.. => "invalid character",
            _ => return None,
        };
        Some(format!("{cause} @{at}"))
    })
}

/// A child's path.
pub(super) fn join(parent: &str, child: &str) -> String {
    let parent = parent.strip_suffix('/').unwrap_or(parent);
    format!("{parent}/{child}")
}

#[cfg(test)]
mod tests {
    use super::{check, check_sequential, join};

    #[test]
    fn bad_paths_are_told_as_zookeepers_client_tells_them() {
        for (path, says) in [
            ("", "Path length must be > 0"),
            ("a", "Path must start with / character"),
            ("/a/", "Path must not end with / character"),
            (
                "/a//b",
                "Invalid path string \"/a//b\" caused by empty node name specified @3",
            ),
            (
                "/a/../b",
                "Invalid path string \"/a/../b\" caused by relative paths not allowed @4",
            ),
            (
                "/a/.",
                "Invalid path string \"/a/.\" caused by relative paths not allowed @3",
            ),
            (
                "/a\u{1}",
                "Invalid path string \"/a\u{1}\" caused by invalid character @2",
            ),
        ] {
            assert_eq!(check(path).unwrap_err().line, says, "{path:?}");
        }
        for path in ["/", "/a", "/a.b", "/..a", "/a/...", "/ä ö"] {
            check(path).unwrap();
        }
        check_sequential("/a/", true).unwrap();
        assert_eq!(join("/", "a"), "/a");
        assert_eq!(join("/a", "b"), "/a/b");
    }
}
