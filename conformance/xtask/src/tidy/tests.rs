//! Small trees that break one rule each, beside trees that keep it.

use super::*;

const SPEC: &str = "\
| D-2 | a difference |
| I-1 | integrity |
| FOLLOWERINFO | learner → leader |
| `Durable(mark)` | on disk |
| packet | `on_ack` |
";

/// The rules that a tree of these files breaks, with the file and line of each.
fn broken(files: &[(&str, &str)]) -> Vec<(Rule, String)> {
    let complaints = complaints_of(files);
    let short = |c: Complaint| (c.rule, format!("{}:{}", c.file.display(), c.line));
    complaints.into_iter().map(short).collect()
}

fn complaints_of(files: &[(&str, &str)]) -> Vec<Complaint> {
    let begun = |text: &str| format!("//! A file.\n{text}");
    let files = files
        .iter()
        .map(|(path, text)| (PathBuf::from(path), begun(text)));
    let tree = Tree {
        files: files.collect(),
        spec: SPEC.to_owned(),
    };
    let mut complaints = complaints(&tree).expect("Rust");
    complaints.sort();
    complaints
}

fn one(rule: Rule, at: &str) -> Vec<(Rule, String)> {
    vec![(rule, at.to_owned())]
}

#[test]
fn two_files_that_need_each_other_are_a_circle() {
    let files = [
        ("x/src/lib.rs", "mod a;\nmod b;"),
        ("x/src/a.rs", "use crate::b::B;\npub struct A;"),
        (
            "x/src/b.rs",
            "pub struct B;\nfn f() { assert!(super::a::A == 1); }",
        ),
    ];
    assert_eq!(broken(&files), one(Rule::Circle, "x/src/a.rs:1"));
    let told = complaints_of(&files).remove(0).text;
    assert!(
        told.contains("x/src/b.rs:3 uses `super::a::A` of x/src/a.rs"),
        "{told}"
    );
}

#[test]
fn what_tests_use_makes_no_circle() {
    let of_tests = "pub struct B;\n#[cfg(test)]\nmod tests { use crate::a::A; }";
    let files = [
        ("x/src/lib.rs", "mod a;\nmod b;\n#[cfg(test)]\nmod c;"),
        ("x/src/a.rs", "use crate::b::B;\npub struct A;"),
        ("x/src/b.rs", of_tests),
        ("x/src/c.rs", "use crate::a::A;"),
    ];
    assert_eq!(broken(&files), []);
}

#[test]
fn a_circle_is_seen_through_the_names_that_a_face_shows() {
    let files = [
        ("x/src/lib.rs", "mod room;\nmod b;"),
        (
            "x/src/room/mod.rs",
            "mod a;\npub use a::{A, other as another};",
        ),
        ("x/src/room/a.rs", "use crate::b;\npub struct A;"),
        ("x/src/b.rs", "use crate::room::another;"),
    ];
    assert_eq!(broken(&files), one(Rule::Circle, "x/src/b.rs:1"));
}

#[test]
fn a_circle_is_seen_through_a_star() {
    let files = [
        ("x/src/lib.rs", "mod a;\nmod b;\npub use a::*;"),
        ("x/src/a.rs", "use crate::b::B;\npub struct A;"),
        ("x/src/b.rs", "use crate::A;\npub struct B;"),
    ];
    assert_eq!(broken(&files), one(Rule::Circle, "x/src/a.rs:1"));
}

#[test]
fn a_face_that_only_names_what_is_under_it_is_in_no_circle() {
    let shows = (
        "x/src/room/mod.rs",
        "mod a;\npub use a::A;\npub struct Shared;",
    );
    let below = ("x/src/room/a.rs", "use super::Shared;\npub struct A;");
    let face = ("x/src/lib.rs", "mod room;");
    assert_eq!(broken(&[face, shows, below]), []);
    let works = (
        "x/src/room/mod.rs",
        "mod a;\nuse a::A;\npub struct Shared(A);",
    );
    assert_eq!(
        broken(&[face, works, below]),
        one(Rule::Circle, "x/src/room/a.rs:1")
    );
}

#[test]
fn an_arrow_that_no_table_allows_is_found() {
    let files = [
        ("impl/src/lib.rs", "mod core;\nmod client;"),
        (
            "impl/src/core/mod.rs",
            "use crate::client::Conn;\npub struct Core;",
        ),
        ("impl/src/client/mod.rs", "pub struct Conn;"),
    ];
    assert_eq!(broken(&files), []);
    let files = [
        ("impl/src/lib.rs", "mod core;\nmod client;"),
        ("impl/src/core/mod.rs", "pub struct Core;"),
        ("impl/src/client/mod.rs", "pub mod conn;"),
        (
            "impl/src/client/conn.rs",
            "\nuse crate::core::{Core as Host};",
        ),
    ];
    assert_eq!(
        broken(&files),
        one(Rule::Arrow, "impl/src/client/conn.rs:3")
    );
}

#[test]
fn a_room_that_no_table_knows_is_found() {
    let files = [
        ("impl/src/lib.rs", "mod attic;"),
        ("impl/src/attic/mod.rs", ""),
    ];
    assert_eq!(broken(&files), one(Rule::Arrow, "impl/src/attic/mod.rs:1"));
}

#[test]
fn a_clock_a_socket_and_a_runtime_have_no_place_in_what_a_simulator_runs() {
    for (text, line) in [
        ("use std::time::{Duration, Instant};", 2),
        ("fn f() { let t = std::time::SystemTime::now(); }", 2),
        ("\nfn f() { tokio::spawn(async {}); }", 3),
        ("use std::net;", 2),
        ("use std::net::{SocketAddr, TcpStream};", 2),
        ("use std::{collections::BTreeMap, fs};", 2),
        ("fn f() { std::thread::sleep(D); }", 2),
    ] {
        let files = [
            ("impl/src/lib.rs", "mod core;"),
            ("impl/src/core/mod.rs", text),
        ];
        let at = format!("impl/src/core/mod.rs:{line}");
        assert_eq!(broken(&files), one(Rule::Name, &at), "{text}");
        let model = [("model/src/lib.rs", "mod ids;"), ("model/src/ids.rs", text)];
        assert_eq!(
            broken(&model),
            one(Rule::Name, &format!("model/src/ids.rs:{line}")),
            "{text}"
        );
    }
}

#[test]
fn an_address_a_duration_the_edge_and_tests_may_name_what_they_need() {
    let core = "use std::net::{IpAddr, SocketAddr};\nuse std::time::Duration;\n#[cfg(test)]\nmod tests { use std::fs; }";
    let files = [
        ("impl/src/lib.rs", "mod core;\nmod storage;\nmod runtime;"),
        ("impl/src/core/mod.rs", core),
        ("impl/src/storage/mod.rs", "mod disk;"),
        ("impl/src/storage/disk.rs", "use std::fs;"),
        (
            "impl/src/runtime/mod.rs",
            "use tokio::net::TcpStream;\nuse std::time::Instant;",
        ),
    ];
    assert_eq!(broken(&files), []);
}

#[test]
fn a_name_that_no_table_of_the_specification_has_is_found() {
    let packet = "pub enum Packet<T> {\n    /// Known.\n    FollowerInfo { at: T, to: T },\n    Gossip(T),\n}";
    let files = [
        ("model/src/lib.rs", "mod packet;\nmod step;\nmod leader;"),
        ("model/src/packet.rs", packet),
        (
            "model/src/step.rs",
            "pub enum Input {\n    Durable(u64),\n    Guessed,\n}",
        ),
        (
            "model/src/leader/mod.rs",
            "fn on_ack() {}\nfn on_gossip() {}\nfn other() {}",
        ),
    ];
    let found = [
        (Rule::Unspecified, "model/src/leader/mod.rs:3".to_owned()),
        (Rule::Unspecified, "model/src/packet.rs:5".to_owned()),
        (Rule::Unspecified, "model/src/step.rs:4".to_owned()),
    ];
    assert_eq!(broken(&files), found);
}

#[test]
fn a_long_file_and_a_long_function_are_found_and_a_reason_excuses_the_function() {
    let long = |n: usize| format!("fn f() {{\n{}}}", "    g();\n".repeat(n - 2));
    let file = "\n".repeat(text::LINES_MAX);
    assert_eq!(
        broken(&[("x/tests/a.rs", &file)]),
        one(Rule::Lines, "x/tests/a.rs:1")
    );
    assert_eq!(
        broken(&[("x/tests/a.rs", &long(text::FUNCTION_LINES_MAX))]),
        []
    );
    let above = long(text::FUNCTION_LINES_MAX + 1);
    assert_eq!(
        broken(&[("x/tests/a.rs", &above)]),
        one(Rule::Function, "x/tests/a.rs:2")
    );
    let excused = format!("// long: one arm for each packet.\n#[inline]\n{above}");
    assert_eq!(broken(&[("x/tests/a.rs", &excused)]), []);
    let silent = format!("// long: \n{above}");
    assert_eq!(
        broken(&[("x/tests/a.rs", &silent)]),
        one(Rule::Function, "x/tests/a.rs:3")
    );
}

#[test]
fn a_citation_of_what_the_specification_does_not_define_is_found() {
    let cites = "// upholds I-1, differs by D-2,\n// D-9\n";
    assert_eq!(
        broken(&[("x/tests/a.rs", cites)]),
        one(Rule::Citation, "x/tests/a.rs:3")
    );
}

#[test]
fn a_file_without_a_first_word_is_found() {
    let tree = Tree {
        files: [(PathBuf::from("x/tests/a.rs"), "fn main() {}".to_owned())].into(),
        spec: SPEC.to_owned(),
    };
    let complaints = complaints(&tree).expect("Rust");
    assert_eq!(complaints.len(), 1);
    assert_eq!(complaints[0].rule, Rule::Opening);
}
