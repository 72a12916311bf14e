//! `zabra-check clients`: exhausts what clients can see, and shows what each wrong answer of the service leads to.

use crate::out::say;
use serde_json::{Value, json};
use stateright::Checker;
use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;
use zabra_check::checker::claims::{self, Claims};
use zabra_check::checker::clients::{self, Clients};
use zabra_check::checker::copies::{self, Copies};
use zabra_check::checker::lives::{self, Lives};
use zabra_check::checker::moves::{self, Moves};
use zabra_check::checker::serving::{Run, Service, Slip, With};

/// How to say what was found.
#[derive(Clone, Copy)]
struct Saying {
    as_json: bool,
    show: bool,
    threads: usize,
}

/// Exhausts a configuration of the service as it is.
fn exhaust<M: Service>(
    model: impl Fn() -> M,
    run: Run,
    properties: &[&str],
    how: Saying,
) -> (bool, Value) {
    let Run {
        name,
        about,
        golden,
    } = run;
    let began = Instant::now();
    let checker = model().checker().threads(how.threads).spawn_dfs().join();
    let distinct = checker.unique_state_count() as u64;
    let generated = checker.state_count() as u64;
    let broken: Vec<&'static str> = checker.discoveries().into_keys().collect();
    let seconds = began.elapsed().as_secs_f64();
    let recorded = (distinct, generated) == golden;
    if !how.as_json {
        say!("{name}: {about}");
        say!("  {distinct} distinct states, {generated} generated, {seconds:.1} s");
        if !recorded {
            say!("  recorded are {golden:?}");
        }
        match &broken[..] {
            [] => say!("  all hold: {}", properties.join(", ")),
            some => say!("  BROKEN: {}", some.join(", ")),
        }
        // The shortest way to each.
        for property in broken.iter().filter(|_| how.show) {
            catch(&model(), name.to_owned(), property).say(true);
        }
    }
    let json = json!({"configuration": name, "distinct": distinct, "generated": generated,
        "seconds": seconds, "properties": properties, "broken": broken, "recorded": recorded});
    (broken.is_empty() && recorded, json)
}

/// The shortest way from a slip to what a client notices.
pub(crate) struct Caught {
    slip: String,
    /// The property.
    pub(crate) by: Option<&'static str>,
    /// The steps, in words.
    pub(crate) steps: Vec<String>,
    /// How many states were seen.
    pub(crate) states: usize,
}

impl Caught {
    pub(crate) fn say(&self, show: bool) {
        let Self {
            slip,
            steps,
            states,
            ..
        } = self;
        match self.by {
            Some(by) => say!(
                "{slip:<34} caught by \"{by}\" after {} steps ({states} states)",
                steps.len()
            ),
            None => say!("{slip:<34} NOT CAUGHT ({states} states)"),
        }
        for (n, step) in steps.iter().enumerate().filter(|_| show) {
            say!("  {:>3}. {step}", n + 1);
        }
    }
}

/// Of 64 bits: among the states that are looked at on the way to a slip, two are hardly ever taken for one.
fn fingerprint(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// The shortest way to a state in which that property is broken, level by level.
fn catch<M: Service>(model: &M, slip: String, wanted: &'static str) -> Caught {
    let property = model.property(wanted);
    let mut seen = BTreeSet::new();
    // How each state was come by: from which other one, by what.
    let mut ways: Vec<(usize, Option<M::Action>)> = Vec::new();
    let mut level: VecDeque<(usize, M::State)> = VecDeque::new();
    for state in model.init_states() {
        seen.insert(fingerprint(&state));
        level.push_back((ways.len(), state));
        ways.push((0, None));
    }
    let mut found = None;
    while let Some((at, state)) = level.pop_front() {
        if !(property.condition)(model, &state) {
            found = Some(at);
            break;
        }
        let mut actions = Vec::new();
        model.actions(&state, &mut actions);
        for action in actions {
            if let Some(next) = model.next_state(&state, action.clone())
                && seen.insert(fingerprint(&next))
            {
                level.push_back((ways.len(), next));
                ways.push((at, Some(action)));
            }
        }
    }
    let mut steps = Vec::new();
    let mut at = found;
    while let Some((from, Some(action))) = at.and_then(|at| ways.get(at)) {
        steps.push(action.clone());
        at = Some(*from);
    }
    steps.reverse();
    let states = ways.len();
    let mut told = Vec::new();
    let mut state = at.and_then(|at| model.init_states().into_iter().nth(at));
    for step in steps {
        let Some(from) = state else { break };
        told.push(model.text(&from, step.clone()));
        state = model.next_state(&from, step);
    }
    Caught {
        slip,
        by: found.map(|_| wanted),
        steps: told,
        states,
    }
}

/// A wrong rule, with what is recorded of it.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) about: &'static str,
    pub(crate) source: &'static str,
    pub(crate) expected: (&'static str, usize),
    run: Box<dyn Fn() -> Caught>,
}

impl Entry {
    /// Looks for the shortest way; whether it is as recorded.
    pub(crate) fn catch(&self) -> (bool, Caught) {
        let caught = (self.run)();
        let found = caught.by.map(|by| (by, caught.steps.len()));
        (found == Some(self.expected), caught)
    }
}

fn entries<M: With<S>, S: Slip>() -> impl Iterator<Item = Entry> {
    S::ALL.iter().map(|slip| {
        let name = format!("{slip:?}");
        Entry {
            name: name.clone(),
            about: slip.about(),
            source: slip.source(),
            expected: slip.expected(),
            run: Box::new(move || catch(&M::with(*slip), name.clone(), slip.expected().0)),
        }
    })
}

/// All wrong rules of the service.
pub(crate) fn slips() -> impl Iterator<Item = Entry> {
    entries::<Clients, clients::Slip>()
        .chain(entries::<Moves, moves::Slip>())
        .chain(entries::<Lives, lives::Slip>())
        .chain(entries::<Claims, claims::Slip>())
        .chain(entries::<Copies, copies::Slip>())
}

/// Configurations of the service, as they are.
fn runs(how: Saying, names: &[String]) -> Vec<(bool, Value)> {
    let is_named = |name: &str| names.is_empty() || names.iter().any(|n| n == name);
    let mut all = Vec::new();
    for v in clients::ALL.iter().filter(|v| is_named(v.run().name)) {
        let model = || Clients::new(v, None);
        all.push(exhaust(model, v.run(), &clients::PROPERTIES, how));
    }
    for v in moves::ALL.iter().filter(|v| is_named(v.run().name)) {
        let model = || Moves::new(v, None);
        all.push(exhaust(model, v.run(), &moves::PROPERTIES, how));
    }
    for v in claims::ALL.iter().filter(|v| is_named(v.run.name)) {
        let model = || Claims::new(v, None);
        all.push(exhaust(model, v.run, &claims::PROPERTIES, how));
    }
    if is_named(lives::RUN.name) {
        let model = || Lives::default();
        all.push(exhaust(model, lives::RUN, &lives::PROPERTIES, how));
    }
    if is_named(copies::RUN.name) {
        let model = || Copies::new(None);
        all.push(exhaust(model, copies::RUN, &copies::PROPERTIES, how));
    }
    all
}

/// Runs what is named, or all there is: the service as it is, then each slip until somebody notices.
pub(crate) fn clients(names: &[String], as_json: bool, show: bool, threads: usize) -> bool {
    let how = Saying {
        as_json,
        show,
        threads,
    };
    let (held, views): (Vec<bool>, Vec<Value>) = runs(how, names).into_iter().unzip();
    let mut holds = held.into_iter().all(|held| held);
    let is_named = |slip: &Entry| names.is_empty() || names.contains(&slip.name);
    let mut told: Vec<Value> = Vec::new();
    for (as_recorded, caught) in slips().filter(is_named).map(|slip| slip.catch()) {
        holds &= as_recorded;
        if !as_json {
            caught.say(how.show);
        }
        let Caught {
            slip,
            by,
            steps,
            states,
        } = caught;
        told.push(json!({"slip": slip, "property": by, "steps": steps, "states": states, "as_recorded": as_recorded}));
    }
    if as_json {
        say!("{}", json!({"views": views, "slips": told, "holds": holds}));
    }
    holds
}
