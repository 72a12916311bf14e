//! SPEC.md, README.md of the model and the code say the same: names, counts, switches, invariants, handlers, faults.

use std::collections::BTreeSet;
use zabra_check::checker::{bounds, properties, scenario, tables, zoo};
use zabra_check::switch::Switch;

const SPEC: &str = include_str!("../../SPEC.md");
const MODEL: &str = include_str!("../README.md");
const FRONT: &str = include_str!("../../README.md");

/// The cells of the rows of all tables in a text.
fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = text.lines().filter_map(|l| l.strip_prefix("| "));
    lines.map(|l| l.trim_end_matches(" |").split(" | ").collect())
}

/// The row that begins with `first`.
fn row(text: &'static str, first: &str) -> Vec<&'static str> {
    rows(text)
        .find(|cells| cells[0] == first)
        .unwrap_or_else(|| panic!("there is no row for {first}"))
}

/// The text of a section, from its heading to the next one of its level or above.
fn section(text: &'static str, heading: &str) -> &'static str {
    let level = heading.split(' ').next().unwrap_or_default().len();
    let begins = text
        .find(&format!("\n{heading}"))
        .unwrap_or_else(|| panic!("there is no heading {heading}"))
        + 1;
    let rest = &text[begins + 1..];
    let next = (2..=level).filter_map(|l| rest.find(&format!("\n{} ", "#".repeat(l))));
    let ends = next.min().map_or(text.len(), |at| begins + 1 + at);
    &text[begins..ends]
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<&str> = groups
        .map(|g| std::str::from_utf8(g).expect("digits"))
        .collect();
    groups.join(",")
}

/// The names of the variants of an enum, as its source has them: lines that are indented once and begin with a capital.
fn variants<'a>(source: &'a str, head: &str) -> Vec<&'a str> {
    let body = source.split_once(head).expect("the enum is there").1;
    let body = body.split_once("\n}").expect("it ends").0;
    let lines = body.lines().filter_map(|l| l.strip_prefix("    "));
    let named = lines.filter(|l| l.starts_with(|c: char| c.is_ascii_uppercase()));
    named
        .map(|l| {
            l.split(|c: char| !c.is_ascii_alphanumeric())
                .next()
                .unwrap_or(l)
        })
        .collect()
}

#[test]
fn the_table_of_the_zoo_is_the_zoo() {
    assert!(
        Switch::ALL
            .into_iter()
            .map(Some)
            .eq(zoo::ALL.iter().map(|c| c.bounds.switch)),
        "each switch has one configuration, in the same order"
    );
    let table = format!("<!-- zoo -->\n{}<!-- /zoo -->", tables::of_the_zoo());
    assert!(
        MODEL.contains(&table),
        "the table of the zoo in model/README.md is stale: run `zabra-check zoo --table model/README.md`"
    );
    for switch in Switch::ALL {
        assert_eq!(row(MODEL, &format!("`{switch:?}`")).len(), 5);
    }
}

#[test]
fn the_table_of_clients_has_the_recorded_numbers() {
    for run in tables::runs() {
        let cells = row(MODEL, &format!("`{}`", run.name));
        let numbers = [2, 3].map(|i| cells[i].replace(',', "").parse().ok());
        let (distinct, generated) = run.golden;
        assert_eq!(numbers, [Some(distinct), Some(generated)], "{}", run.name);
    }
}

#[test]
fn the_table_of_runs_has_the_recorded_numbers() {
    for b in bounds::ALL {
        let Some(golden) = b.golden else { continue };
        let cells = row(MODEL, &format!("`{}`", b.name));
        let number = |i: usize| {
            cells[i]
                .replace(',', "")
                .parse::<u64>()
                .unwrap_or_else(|e| panic!("{}: {e}", b.name))
        };
        assert_eq!(
            (number(2), number(3), number(4)),
            (golden.distinct, golden.generated, u64::from(golden.depth)),
            "{}",
            b.name
        );
    }
}

/// How much each engine has counted is said where readers meet the claim: in the specification and on the first page.
#[test]
fn who_counted_what_is_said_with_the_recorded_numbers() {
    let counts = bounds::ALL.iter().filter_map(|b| b.golden);
    let (small, large): (Vec<u64>, Vec<u64>) = counts
        .map(|g| g.distinct)
        .partition(|distinct| *distinct <= 10_000_000);
    let of_clients: Vec<u64> = tables::runs().map(|run| run.golden.0).collect();
    let all = [small.clone(), large.clone()].concat();
    let said = [&all, &small, &large, &of_clients]
        .map(|c| (c.len().to_string(), grouped(c.iter().sum::<u64>())));
    let table: Vec<_> = rows(section(SPEC, "### 8.2 ")).collect();
    for (configurations, distinct) in &said {
        let found = table
            .iter()
            .any(|cells| cells[1] == configurations && cells[2] == distinct);
        assert!(
            found,
            "SPEC.md 8.2 has no row with {configurations} and {distinct}"
        );
    }
    for n in [&said[0].1, &said[1].1] {
        assert!(FRONT.contains(n), "README.md does not say {n}");
    }
}

#[test]
fn every_invariant_stands_in_its_place() {
    let number = |id: &str| id.trim_start_matches("I-").parse::<u32>().unwrap();
    assert!(properties::ALL.is_sorted_by_key(|p| number(p.id)));
    for p in properties::ALL {
        assert_eq!(row(SPEC, p.id)[1], p.name);
    }
}

/// One spelling: the name of an action in the code is that in SPEC.md, in traces, in scenarios and in what has occurred.
#[test]
fn every_action_stands_in_the_table_of_actions_and_is_spelled_alike_everywhere() {
    use zabra_check::checker::action::WITNESSES;
    let actions = include_str!("../src/checker/action.rs");
    let names = variants(actions, "pub enum Action {");
    let table = section(SPEC, "### 8.1 ");
    let in_the_table: Vec<_> = rows(table).filter(|c| c[0].starts_with('`')).collect();
    assert_eq!(names.len(), in_the_table.len());
    for name in names {
        let cells = row(table, &format!("`{name}`"));
        assert_eq!(cells.len(), 6, "{name}");
        let is_fault = actions.contains(&format!("| Self::{name} {{ .. }}\n"))
            || actions.contains(&format!(
                "matches!(\n            self,\n            Self::{name} {{ .. }}"
            ));
        assert_eq!(cells[3], if is_fault { "yes" } else { "no" }, "{name}");
        assert!(scenario::VERBS.contains(&name), "scenarios lack {name}");
        let occurs = WITNESSES
            .iter()
            .any(|w| *w == name || w.starts_with(&format!("{name}(")));
        assert!(occurs, "what has occurred lacks {name}");
    }
    let action = zabra_check::checker::action::Action::HearClose {
        link: 0,
        at: zabra_check::checker::link::End::Leader,
    };
    let json = serde_json::to_string(&action).expect("an action is JSON");
    assert!(json.starts_with(r#"{"HearClose":"#), "{json}");
}

#[test]
fn every_phase_and_stage_stands_in_the_table() {
    let (leader, learner) = (
        include_str!("../src/leader/mod.rs"),
        include_str!("../src/learner/mod.rs"),
    );
    let all = [
        ("leader", variants(leader, "enum Phase {")),
        (
            "a leader's learner",
            variants(leader, "enum LearnerStage {"),
        ),
        ("learner", variants(learner, "enum FollowingStage {")),
    ];
    for (who, names) in all {
        assert!(names.len() >= 6, "{who}: {names:?}");
        for name in names {
            let line = format!("| {who} | `{name}` | ");
            assert!(SPEC.contains(&line), "SPEC.md 2.2 has no row {line}");
        }
    }
}

#[test]
fn every_input_effect_write_and_timer_stands_in_its_table() {
    let step = include_str!("../src/step.rs");
    let table = section(SPEC, "### 1.3 ");
    for of in ["Input<T>", "Effect<T>", "Write<T>", "Timer"] {
        let names = variants(step, &format!("pub enum {of} {{"));
        assert!(names.len() >= 4, "{of}: {names:?}");
        for name in names {
            let first = rows(table).map(|cells| cells[0]);
            let is_it = |word: &str| word.trim_matches('`').split('(').next() == Some(name);
            assert!(
                first.into_iter().any(|c| c.split(", ").any(is_it)),
                "SPEC.md 1.3 has no row for {of} {name}"
            );
        }
    }
}

/// The sources with handlers, each under the name that the table gives to its place.
const HANDLED: [(&str, &[&str]); 4] = [
    ("peer", &[include_str!("../src/peer.rs")]),
    ("election", &[include_str!("../src/election/mod.rs")]),
    (
        "leader",
        &[
            include_str!("../src/leader/mod.rs"),
            include_str!("../src/leader/discovery.rs"),
            include_str!("../src/leader/sync.rs"),
            include_str!("../src/leader/sync_plan.rs"),
            include_str!("../src/leader/broadcast.rs"),
            include_str!("../src/leader/reconfig.rs"),
            include_str!("../src/leader/progress.rs"),
        ],
    ),
    (
        "learner",
        &[
            include_str!("../src/learner/mod.rs"),
            include_str!("../src/learner/discovery.rs"),
            include_str!("../src/learner/sync.rs"),
            include_str!("../src/learner/broadcast.rs"),
        ],
    ),
];

#[test]
fn every_handler_stands_in_the_table_of_handlers_and_every_row_is_one() {
    let mut code = BTreeSet::new();
    for (at, sources) in HANDLED {
        for line in sources.iter().flat_map(|s| s.lines()) {
            let Some(name) = line.split_once("fn ").map(|(_, rest)| rest) else {
                continue;
            };
            let name = name.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            let name = name.into_iter().next().unwrap_or_default();
            if ["on_", "become_", "plan_"]
                .iter()
                .any(|kind| name.starts_with(kind))
            {
                code.insert((at, name));
            }
        }
    }
    assert!(code.len() > 40, "{code:?}");
    let mut table = BTreeSet::new();
    for cells in rows(section(SPEC, "### 2.4 ")) {
        let name = cells.get(2).map_or("", |c| c.trim_matches('`'));
        if cells.len() == 8 && cells[2] != "handler" {
            table.insert((cells[0], name));
            cites(&cells);
        }
    }
    let lacks: Vec<_> = code.difference(&table).collect();
    let invents: Vec<_> = table.difference(&code).collect();
    assert!(lacks.is_empty(), "SPEC.md 2.4 lacks {lacks:?}");
    assert!(invents.is_empty(), "the code lacks {invents:?}");
}

/// The faults and packets that a row of the table of handlers names are ones.
fn cites(cells: &[&str]) {
    let faults = variants(include_str!("../src/fault.rs"), "pub enum Fault {");
    for fault in cells[5].split('`').skip(1).step_by(2) {
        assert!(faults.contains(&fault), "{fault} is no fault: {cells:?}");
    }
    let packets = variants(include_str!("../src/packet.rs"), "pub enum Packet<T> {");
    let packets: Vec<String> = packets.iter().map(|p| p.to_ascii_uppercase()).collect();
    let capitals = cells[1]
        .split(|c: char| !c.is_ascii_uppercase())
        .filter(|w| w.len() > 2);
    for packet in capitals.filter(|w| !["LOOKING", "FOLLOWING", "LEADING"].contains(w)) {
        assert!(
            packets.iter().any(|p| p == packet),
            "{packet} is no packet: {cells:?}"
        );
    }
}

#[test]
fn every_fault_stands_in_the_table_of_faults() {
    let faults = variants(include_str!("../src/fault.rs"), "pub enum Fault {");
    let table = section(SPEC, "### 2.5 ");
    let code = include_str!("../src/fault.rs");
    let bad = code.split_once("=> true,").expect("is_bad_packet").0;
    let bad = bad.split_once("match self {").expect("is_bad_packet").1;
    for fault in faults {
        let named = format!("`{fault}`");
        let row = table.lines().find(|l| {
            l.starts_with("| `") && l.split(" | ").next().is_some_and(|c| c.contains(&named))
        });
        let row = row.unwrap_or_else(|| panic!("SPEC.md 2.5 has no row for {fault}"));
        let is_bad = bad.lines().any(|l| {
            l.trim_start_matches([' ', '|'])
                .strip_prefix("Self::")
                .is_some_and(|l| l.split(|c: char| !c.is_alphanumeric()).next() == Some(fault))
        });
        assert_eq!(row.contains("(bad packet)"), is_bad, "{fault}");
    }
}

#[test]
fn every_deviation_has_an_example() {
    let table = rows(section(SPEC, "## 10. "));
    let table: Vec<_> = table.filter(|c| c[0].starts_with("D-")).collect();
    assert!(table.len() >= 40);
    for cells in table {
        assert_eq!(cells.len(), 5, "{}", cells[0]);
        let arrows = cells[4].matches(" → ").count();
        assert!(
            arrows >= 2,
            "{}: input → ZooKeeper's answer → Zabra's answer",
            cells[0]
        );
    }
}

/// A link of the contents leads to a heading.
#[test]
fn the_contents_lead_to_headings() {
    for text in [SPEC, MODEL] {
        let headings = text.lines().filter(|l| l.starts_with('#'));
        let anchors: BTreeSet<String> = headings
            .map(|h| {
                let h = h.trim_start_matches('#').trim().to_lowercase();
                let kept = h
                    .chars()
                    .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                kept.map(|c| if c == ' ' { '-' } else { c }).collect()
            })
            .collect();
        for link in text.split("](#").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            assert!(anchors.contains(link), "no heading for #{link}");
        }
    }
    let numbered: Vec<&str> = SPEC.lines().filter(|l| l.starts_with("## ")).collect();
    assert!(numbered.len() >= 14, "{numbered:?}");
}

/// A file that a text names is there, whatever folder it has come to.
#[test]
fn every_file_that_a_text_names_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    let mut folders: Vec<_> = ["model", "impl", "conformance", "benches"]
        .map(|room| root.join(room))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("a file of the repository").path();
            let shown = path.strip_prefix(&root).expect("below the root").display();
            match path.is_dir() {
                true if !path.ends_with("target") => folders.push(path),
                true => {}
                false => files.push(format!("/{shown}")),
            }
        }
    }
    let texts = [
        ("SPEC.md", SPEC),
        ("model/README.md", MODEL),
        ("README.md", FRONT),
        ("CONTRIBUTING.md", include_str!("../../CONTRIBUTING.md")),
    ];
    for (at, text) in texts {
        let names = text.split('`').skip(1).step_by(2);
        let names = names.filter(|n| n.ends_with(".rs") && !n.contains(['{', '*', ' ']));
        for name in names {
            let end = format!("/{name}");
            assert!(
                files.iter().any(|f| f.ends_with(&end)),
                "{at} names {name}, which is not there"
            );
        }
        let folders = text.split('`').skip(1).step_by(2);
        for name in
            folders.filter(|n| n.starts_with("impl/") && n.ends_with('/') && !n.contains('{'))
        {
            assert!(
                root.join(name).is_dir(),
                "{at} names {name}, which is not there"
            );
        }
    }
}
