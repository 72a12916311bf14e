//! Tables that README.md of the model shows: written from what the code says, so that they cannot say anything else.

use super::serving::{Run, Slip};
use super::{claims, clients, copies, lives, moves, zoo};
use alloc::format;
use alloc::string::String;

/// All configurations of the service.
pub fn runs() -> impl Iterator<Item = Run> {
    let seen = clients::ALL.iter().map(clients::View::run);
    let moved = moves::ALL.iter().map(moves::View::run);
    let claimed = claims::ALL.iter().map(|view| view.run);
    seen.chain(moved)
        .chain(claimed)
        .chain([lives::RUN, copies::RUN])
}

/// The table of the bug zoo: the switches of the core and its host, then those of the service.
#[must_use]
pub fn of_the_zoo() -> String {
    let head = "| switch | what is wrong | source | caught by | steps |\n|---|---|---|---|---|\n";
    let mut table = String::from(head);
    for case in zoo::ALL {
        let name = case.bounds.name.trim_start_matches("zoo/");
        table.push_str(&row(name, case.bounds.about, case.source, case.expected));
    }
    table
        + &rows::<clients::Slip>()
        + &rows::<moves::Slip>()
        + &rows::<lives::Slip>()
        + &rows::<claims::Slip>()
        + &rows::<copies::Slip>()
}

fn row(name: &str, about: &str, source: &str, (by, steps): (&str, usize)) -> String {
    format!("| `{name}` | {about} | {source} | {by} | {steps} |\n")
}

/// The wrong rules of one model of the service.
fn rows<S: Slip>() -> String {
    let all = S::ALL.iter();
    all.map(|slip| {
        let name = format!("{slip:?}");
        row(&name, slip.about(), slip.source(), slip.expected())
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::serving::{Service, With};
    use stateright::{Checker, HasDiscoveries};

    fn holds<M: Service>(model: M, run: Run) {
        let checker = model.checker().spawn_dfs().join();
        checker.assert_properties();
        let counted = (checker.unique_state_count(), checker.state_count());
        let counted = (counted.0 as u64, counted.1 as u64);
        assert_eq!(counted, run.golden, "{}", run.name);
    }

    fn each_is_noticed<M: With<S>, S: Slip>() {
        for slip in S::ALL {
            let (by, _) = slip.expected();
            let until = HasDiscoveries::AnyOf([by].into());
            let checker = M::with(*slip).checker().finish_when(until);
            let found = checker.spawn_bfs().join().discovery(by);
            assert!(found.is_some(), "{slip:?}");
        }
    }

    /// The larger ones are run by `zabra-check clients`.
    #[test]
    fn the_small_models_of_the_service_hold_and_notice_each_wrong_rule() {
        for view in claims::ALL {
            holds(claims::Claims::new(view, None), view.run);
        }
        holds(copies::Copies::new(None), copies::RUN);
        holds(lives::Lives::default(), lives::RUN);
        holds(
            clients::Clients::new(&clients::SYNCS, None),
            clients::SYNCS.run(),
        );
        each_is_noticed::<claims::Claims, _>();
        each_is_noticed::<copies::Copies, _>();
        each_is_noticed::<lives::Lives, _>();
    }
}
