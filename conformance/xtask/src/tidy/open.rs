//! What is known to break a rule, with the reason why it still may.
//!
//! A row that excuses nothing is a complaint, so the list only gets shorter.

use super::complaint::{Complaint, Rule};
use std::path::PathBuf;

/// What a row excuses.
struct Open {
    rule: Rule,
    /// A file, or a folder with all that is in it.
    place: &'static str,
    why: &'static str,
}

/// Nothing, by now.
const OPEN: &[Open] = &[];

/// The complaints that no row excuses, and one for each row that excuses none.
pub(super) fn left(complaints: Vec<Complaint>) -> Vec<Complaint> {
    left_by(OPEN, complaints)
}

fn left_by(open: &[Open], complaints: Vec<Complaint>) -> Vec<Complaint> {
    let excuses = |o: &Open, c: &Complaint| o.rule == c.rule && c.file.starts_with(o.place);
    let idle = open
        .iter()
        .filter(|o| !complaints.iter().any(|c| excuses(o, c)));
    let idle = idle.map(|o| Complaint {
        rule: o.rule,
        file: PathBuf::from("conformance/xtask/src/tidy/open.rs"),
        line: 1,
        text: format!(
            "{} keeps the rule {:?} by now; delete its row ({})",
            o.place, o.rule, o.why
        ),
    });
    let mut left: Vec<Complaint> = idle.collect();
    let mut rest = complaints;
    rest.retain(|c| !open.iter().any(|o| excuses(o, c)));
    left.extend(rest);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_long(file: &str) -> Complaint {
        Complaint {
            rule: Rule::Lines,
            file: PathBuf::from(file),
            line: 1,
            text: "too long".to_owned(),
        }
    }

    #[test]
    fn what_is_open_is_excused_and_what_is_done_has_to_leave_the_list() {
        let row = |place| Open {
            rule: Rule::Lines,
            place,
            why: "not yet",
        };
        let open = [row("a/src"), row("b/src")];
        let left = left_by(&open, vec![too_long("a/src/x.rs"), too_long("c/src/y.rs")]);
        let files: Vec<_> = left.iter().map(|c| c.text.as_str()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(files[0].contains("b/src keeps the rule Lines"), "{files:?}");
        assert_eq!(left[1], too_long("c/src/y.rs"));
    }
}
