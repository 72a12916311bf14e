//! SPEC.md and the code say the same: counts, switches, invariants.

use zabra_check::switch::Switch;

const SPEC: &str = include_str!("../../SPEC.md");

/// The cells of the table row that begins with `first`.
fn row(first: &str) -> Vec<&'static str> {
    let lines = SPEC.lines().filter_map(|l| l.strip_prefix("| "));
    let mut rows = lines.map(|l| l.trim_end_matches(" |").split(" | ").collect::<Vec<_>>());
    rows.find(|cells| cells[0] == first)
        .unwrap_or_else(|| panic!("SPEC.md has no row for {first}"))
}

#[test]
fn the_table_of_the_zoo_is_the_zoo() {
    use zabra_check::checker::zoo;
    assert!(
        Switch::ALL
            .into_iter()
            .map(Some)
            .eq(zoo::ALL.iter().map(|c| c.bounds.switch)),
        "each switch has one cage, in the same order"
    );
    let mut table = String::new();
    for zoo::Cage {
        bounds,
        source,
        expected: (by, steps),
    } in zoo::ALL
    {
        let name = bounds.name.trim_start_matches("zoo/");
        table += &format!(
            "| `{name}` | {} | {source} | {by} | {steps} |\n",
            bounds.about
        );
    }
    assert!(
        SPEC.contains(&table),
        "SPEC.md §8 should have these rows:\n{table}"
    );
}

#[test]
fn the_slips_of_the_service_stand_behind_the_zoo() {
    use zabra_check::checker::moves::Slip;
    let rows = Slip::ALL.map(|slip| {
        let (by, steps) = slip.expected();
        let (about, source) = (slip.about(), slip.source());
        format!("| `{slip:?}` | {about} | {source} | {by} | {steps} |\n")
    });
    let table = rows.concat();
    assert!(
        SPEC.contains(&table),
        "SPEC.md §8 should have these rows:\n{table}"
    );
}

#[test]
fn the_table_of_clients_has_the_recorded_numbers() {
    use zabra_check::checker::{clients, moves};
    let clients = clients::ALL.iter().map(|v| (v.ensemble.name, v.golden));
    let moves = moves::ALL.iter().map(|v| (v.ensemble.name, v.golden));
    for (name, (distinct, generated)) in clients.chain(moves) {
        let cells = row(&format!("`{name}`"));
        let numbers = [2, 3].map(|i| cells[i].replace(',', "").parse().ok());
        assert_eq!(numbers, [Some(distinct), Some(generated)], "{name}");
    }
}

#[test]
fn every_switch_stands_in_the_table() {
    for switch in Switch::ALL {
        assert_eq!(row(&format!("`{switch:?}`")).len(), 5);
    }
}

#[test]
fn the_table_of_runs_has_the_recorded_numbers() {
    for b in zabra_check::checker::bounds::ALL {
        let Some(golden) = b.golden else { continue };
        let cells = row(&format!("`{}`", b.name));
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

#[test]
fn every_invariant_stands_in_its_place() {
    for (i, p) in zabra_check::checker::properties::ALL.iter().enumerate() {
        assert_eq!(row(&format!("I-{}", i + 1))[1], p.name);
    }
}

#[test]
fn every_action_stands_in_the_table_of_actions() {
    use zabra_check::checker::action::WITNESSES;
    let actions = include_str!("../src/checker/action.rs");
    let names = variants(actions, "pub enum Action {");
    assert!(names.len() >= 21 && WITNESSES.len() >= names.len());
    for name in names {
        let first = format!("| `{name}` | ");
        let rows = SPEC.lines().filter(|l| l.starts_with(&first));
        let cells = rows.map(|l| l.trim_end_matches(" |").split(" | ").count());
        assert!(
            cells.into_iter().any(|n| n == 5),
            "SPEC.md §7 has no row for {name}"
        );
    }
}

#[test]
fn every_phase_and_stage_stands_in_the_table() {
    let (leader, learner) = (
        include_str!("../src/leader/mod.rs"),
        include_str!("../src/learner/mod.rs"),
    );
    let all = [
        ("leader", variants(leader, "enum Phase {")),
        ("a leader's learner", variants(leader, "enum Stage {")),
        ("learner", variants(learner, "enum Stage {")),
    ];
    for (who, names) in all {
        assert!(names.len() >= 6, "{who}: {names:?}");
        for name in names {
            let line = format!("| {who} | `{name}` | ");
            assert!(SPEC.contains(&line), "SPEC.md §1 has no row {line}");
        }
    }
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
