//! Scenarios: stories of a modelled cluster in a small command language, with everything that is said and written after each
//! command. They show handlers one by one; a reviewer reads a difference in one of them as a change of behaviour.
//!
//! A line that begins with `> ` is a command, the lines below it, up to an empty one, are what the model answers; everything else is
//! prose. The first command is `begin CONFIGURATION` (with the number of an initial state, if there are several). Others are
//! the actions of the checker by their names, and happen only where the checker would let them happen:
//!
//! ```text
//! > begin rec-warm-1
//! > Receive 1 PROPOSAL from 3
//! > Flush 1
//! > drain                     everything that is under way arrives and is written
//! > cannot Propose 1          an action that is not possible here
//! > show                      the whole cluster
//! ```
//!
//! `plan` asks the table of synchronization itself, without a cluster: a leader's base and log, how far it has committed, and where
//! a learner's history ends (`none`, if it names no position).
//!
//! ```text
//! > plan base e1c2 log e1c3 e3c1 committed e3c1 learner e1c5
//! ```

use super::action::Action;
use super::bounds::{self, Grain};
use super::cluster::{Cluster, World};
use super::link::End;
use super::model::Zab;
use super::trace;
use crate::history::History;
use crate::ids::{Epoch, Zxid};
use crate::leader::sync_plan::{SyncPlan, SyncRow, plan_sync};
use crate::switch::Switches;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The most steps of one `drain`.
const DRAIN_MAX: usize = 500;

/// The names of the actions.
pub const VERBS: [&str; 24] = [
    "Lead",
    "Follow",
    "ElectBest",
    "Notify",
    "Connect",
    "GiveUp",
    "Settle",
    "Receive",
    "HearClose",
    "Flush",
    "Snapshot",
    "Fire",
    "Propose",
    "Reconfigure",
    "Crash",
    "Start",
    "Disconnect",
    "FailWrite",
    "Die",
    "FailSync",
    "SyncFound",
    "Overtake",
    "EarlyPing",
    "SnapLater",
];

/// A line of a scenario that cannot be carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it, and what would be right.
    pub what: String,
}

/// A cluster in the middle of its story.
struct Teller {
    model: Zab,
    cluster: Cluster,
}

/// An action, as scenarios write it: its name, and where it happens.
#[must_use]
pub fn command(world: &World, c: &Cluster, action: Action) -> String {
    let ends = |link: u64, at: End| {
        c.wire(world, link)
            .map_or((0, 0), |w| (w.server(at) + 1, w.server(at.other()) + 1))
    };
    match action {
        Action::Lead { server } => format!("Lead {server}"),
        Action::Follow { server, leader } => format!("Follow {server} leader {leader}"),
        Action::ElectBest { servers } => format!("ElectBest {}", list(servers)),
        Action::Notify { from, to } => format!("Notify {to} from {from}"),
        Action::Connect { server } => format!("Connect {server}"),
        Action::GiveUp { server } => format!("GiveUp {server}"),
        Action::Settle { leader, followers } => format!("Settle {leader} with {}", list(followers)),
        Action::Receive { link, at } => {
            let (to, from) = ends(link, at);
            let frame = c.wire(world, link).and_then(|w| w.inbox(at).front());
            let packet = frame.map_or("nothing", |f| trace::on_the_wire(&f.packet).0);
            format!("Receive {to} {packet} from {from}")
        }
        Action::HearClose { link, at } => {
            let (to, from) = ends(link, at);
            format!("HearClose {to} from {from}")
        }
        Action::Flush { server } => format!("Flush {server}"),
        Action::Snapshot { server } => format!("Snapshot {server}"),
        Action::Fire { server, timer } => {
            format!("Fire {server} {timer:?}")
        }
        Action::Propose { server } => format!("Propose {server}"),
        Action::Reconfigure { server, members } => {
            format!("Reconfigure {server} to {}", list(members))
        }
        Action::Crash { server, kept } => format!("Crash {server} keeping {kept}"),
        Action::Start { server } => format!("Start {server}"),
        Action::Disconnect { link } => on_link("Disconnect", ends(link, End::Leader)),
        Action::FailWrite { server } => format!("FailWrite {server}"),
        Action::Die { server, kept } => format!("Die {server} keeping {kept}"),
        Action::FailSync { server, kept } => format!("FailSync {server} keeping {kept}"),
        Action::SyncFound { server } => format!("SyncFound {server}"),
        Action::Overtake { link } => on_link("Overtake", ends(link, End::Leader)),
        Action::EarlyPing { link } => on_link("EarlyPing", ends(link, End::Leader)),
        Action::SnapLater { link } => on_link("SnapLater", ends(link, End::Leader)),
    }
}

fn on_link(what: &str, (leader, learner): (usize, usize)) -> String {
    format!("{what} {leader} and {learner}")
}

fn list(bits: u8) -> String {
    super::action::server_list(bits).replace(' ', "")
}

impl Teller {
    fn begin(words: &str) -> Result<Self, String> {
        let mut words = words.split_whitespace();
        let name = words.next().unwrap_or_default();
        let initial = match words.next().map(str::parse) {
            None => 0,
            Some(Ok(n)) => n,
            Some(Err(_)) => {
                return Err("write `begin CONFIGURATION` or `begin CONFIGURATION N`".into());
            }
        };
        let bounds = bounds::find(name).ok_or_else(|| {
            format!("{name:?} is not a configuration; `zabra-check list` names them")
        })?;
        let model = Zab::new(bounds);
        let all = model.initial();
        let count = all.len();
        let cluster = all.into_iter().nth(initial).ok_or_else(|| {
            format!("{name} has {count} initial states, numbered from 0; {initial} is none of them")
        })?;
        Ok(Self { model, cluster })
    }

    /// What can happen, as scenarios write it.
    fn enabled(&self) -> Vec<(String, Action)> {
        let mut actions = Vec::new();
        self.model.enabled(&self.cluster, &mut actions);
        let named = |a: Action| (command(&self.model.world, &self.cluster, a), a);
        actions.into_iter().map(named).collect()
    }

    fn find(&self, words: &str) -> Result<Action, String> {
        let enabled = self.enabled();
        // Two connections of the same two servers: the older one is meant.
        match enabled.iter().find(|(name, _)| name == words) {
            Some((_, action)) => Ok(*action),
            None => {
                let names: Vec<&str> = enabled.iter().map(|(name, _)| &**name).collect();
                Err(format!(
                    "{words:?} cannot happen here; what can: {}",
                    names.join(" · ")
                ))
            }
        }
    }

    fn step(&mut self, action: Action) -> String {
        let text = trace::outcome_text(&self.model, &self.cluster, action);
        self.model.apply(
            &mut self.cluster,
            action,
            &mut super::cluster::Log::default(),
        );
        text
    }

    /// Everything under way arrives and is written, the oldest first; who has lost a connection learns of it.
    fn drain(&mut self) -> Result<String, String> {
        let mut told = Vec::new();
        let rank = |action: &Action| match action {
            Action::Flush { .. } => Some(0),
            Action::Receive { .. } => Some(1),
            Action::Notify { .. } => Some(2),
            Action::HearClose { .. } => Some(3),
            Action::Connect { .. } => Some(4),
            _ => None,
        };
        for _ in 0..DRAIN_MAX {
            let mut actions = Vec::new();
            self.model.enabled(&self.cluster, &mut actions);
            let next = actions.into_iter().filter(|a| rank(a).is_some());
            let Some(action) = next.min_by_key(rank) else {
                let after = (0..self.cluster.n())
                    .map(|i| trace::server_text(&self.model.world, &self.cluster, i));
                told.extend(after);
                return Ok(told.join("\n"));
            };
            told.push(trace::action_text(&self.model.world, &self.cluster, action));
            self.step(action);
        }
        Err(format!("it has not come to rest within {DRAIN_MAX} steps"))
    }

    fn tell(&mut self, words: &str) -> Result<String, String> {
        if words == "show" {
            return Ok(trace::cluster_text(&self.model.world, &self.cluster));
        }
        if words == "drain" {
            return self.drain();
        }
        if let Some(words) = words.strip_prefix("cannot ") {
            let verb = words.split(' ').next().unwrap_or_default();
            return match self.find(words) {
                Ok(_) => Err(format!("{words:?} can happen here")),
                Err(_) if VERBS.contains(&verb) => Ok("it cannot happen".to_string()),
                Err(_) => Err(format!(
                    "{verb:?} is no action; actions are {}",
                    VERBS.join(", ")
                )),
            };
        }
        let action = self.find(words)?;
        Ok(self.step(action))
    }
}

/// Tells a scenario anew: its prose and commands as they are, with the model's answers.
///
/// # Errors
/// The first line that cannot be carried out.
pub fn tell(text: &str) -> Result<String, Mistake> {
    let mut out = String::new();
    let mut teller: Option<Teller> = None;
    let mut is_answer = false;
    for (n, line) in text.lines().enumerate() {
        let at = |what| Mistake { line: n + 1, what };
        let Some(words) = line.strip_prefix("> ") else {
            // What was answered last time is left out; an empty line ends it.
            is_answer &= !line.trim().is_empty();
            if !is_answer {
                out.push_str(line.trim_end());
                out.push('\n');
            }
            continue;
        };
        if let Some(words) = words.strip_prefix("plan ") {
            answer(line, &plan(words).map_err(at)?, &mut out, &mut is_answer);
            continue;
        }
        let told = match (words.strip_prefix("begin "), &mut teller) {
            (Some(words), _) => {
                let begun = Teller::begin(words).map_err(at)?;
                let servers = (0..begun.cluster.n())
                    .map(|i| trace::server_text(&begun.model.world, &begun.cluster, i));
                let answer = servers.collect::<Vec<_>>().join("\n");
                teller = Some(begun);
                answer
            }
            (None, Some(teller)) => teller.tell(words.trim()).map_err(at)?,
            (None, None) => {
                return Err(at("a scenario begins with `> begin CONFIGURATION`".into()));
            }
        };
        answer(line, &told, &mut out, &mut is_answer);
    }
    Ok(out)
}

/// Writes a command and what is answered.
fn answer(command: &str, told: &str, out: &mut String, is_answer: &mut bool) {
    if *is_answer {
        out.push('\n'); // commands directly under each other
    }
    for line in [command].into_iter().chain(told.lines()) {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    *is_answer = true;
}

/// What the table of synchronization says.
fn plan(words: &str) -> Result<String, String> {
    let wrong =
        || "write `plan base ZXID log ZXID… committed ZXID [reach ZXID] learner ZXID`".to_string();
    let zxid = |word: &str| {
        if word == "none" {
            return Some(Zxid::NONE);
        }
        let (epoch, counter) = word.strip_prefix('e')?.split_once('c')?;
        let epoch = Epoch(epoch.parse().ok()?);
        Some(Zxid::new(epoch, counter.parse().ok()?))
    };
    let part = |name: &str| {
        let after = words.split_whitespace().skip_while(move |w| *w != name);
        let named = ["base", "log", "committed", "reach", "learner"];
        let listed = after.skip(1).take_while(move |w| !named.contains(w));
        listed
            .map(zxid)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(wrong)
    };
    let one = |name: &str| match part(name)?[..] {
        [zxid] => Ok(zxid),
        _ => Err(wrong()),
    };
    let mut history = History::starting_at(one("base")?);
    for zxid in part("log")? {
        if !history.is_next(zxid) {
            return Err(format!("a log cannot go on with {zxid:?}"));
        }
        history.append(zxid);
    }
    let (committed, learner) = (one("committed")?, one("learner")?);
    let reach = match part("reach")?[..] {
        [] => Zxid::ZERO,
        [zxid] => zxid,
        _ => return Err(wrong()),
    };
    let row = SyncRow::of(&history, committed, reach, learner);
    let plan = match plan_sync(&history, committed, reach, learner, Switches::default()) {
        SyncPlan::Diff { after } => format!("DIFF, and what comes after {after:?}"),
        SyncPlan::Trunc { to } => format!("TRUNC to {to:?}, and what comes after it"),
        SyncPlan::Snap => "SNAP".to_string(),
    };
    Ok(format!("row \"{}\": {plan}", row.name()))
}

/// A cluster that was reached.
struct Reached {
    cluster: Cluster,
    /// The place of the one before it, and the action between the two.
    by: Option<(usize, Action)>,
    /// The initial state that the way to it begins with.
    initial: usize,
}

/// The shortest way in a configuration to a step whose telling contains each of `texts`, as the beginning of a scenario:
/// for writing one. `None` if there is none within `states_max` states.
#[must_use]
pub fn way_to(model: &Zab, texts: &[String], states_max: usize) -> Option<String> {
    let mut seen = BTreeSet::new();
    let mut found: Vec<Reached> = Vec::new();
    for (initial, cluster) in model.initial().into_iter().enumerate() {
        seen.insert(fingerprint(model, &cluster));
        found.push(Reached {
            cluster,
            by: None,
            initial,
        });
    }
    let mut next = 0;
    while next < found.len() && found.len() < states_max {
        let Reached {
            cluster, initial, ..
        } = found[next];
        let mut actions = Vec::new();
        model.enabled(&cluster, &mut actions);
        for action in actions {
            let mut after = cluster;
            model.apply(&mut after, action, &mut super::cluster::Log::default());
            if !seen.insert(fingerprint(model, &after)) {
                continue;
            }
            let told = trace::outcome_text(model, &cluster, action);
            found.push(Reached {
                cluster: after,
                by: Some((next, action)),
                initial,
            });
            if texts.iter().all(|text| told.contains(text)) {
                return Some(commands(model, &found));
            }
        }
        next += 1;
    }
    None
}

fn fingerprint(model: &Zab, cluster: &Cluster) -> u128 {
    let mut words = Vec::new();
    cluster.pack(model.bounds.grain == Grain::E2, &mut words);
    cluster.identity(&model.world, &words).fingerprint
}

/// The way to the last cluster that was found.
fn commands(model: &Zab, found: &[Reached]) -> String {
    let mut lines = Vec::new();
    let mut at = found.len() - 1;
    let initial = found[at].initial;
    while let Some((before, action)) = found[at].by {
        let words = command(&model.world, &found[before].cluster, action);
        lines.push(format!("> {words}\n\n"));
        at = before;
    }
    lines.push(format!("> begin {} {initial}\n\n", model.bounds.name));
    lines.reverse();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telling_a_told_scenario_changes_nothing() {
        let text =
            "A write.\n\n> begin rec-warm-1\n> Receive 1 PROPOSAL from 3\n> Flush 1\n\nEnd.\n";
        let once = tell(text).expect("it can happen");
        assert!(once.contains("-> server 1 sends ACK"), "{once}");
        assert!(once.ends_with("\nEnd.\n"), "{once}");
        assert_eq!(tell(&once), Ok(once));
    }

    #[test]
    fn what_cannot_happen_is_said_with_what_can() {
        let text = "> begin rec-warm-1\n> cannot Propose 1\n> propose 1\n";
        let refused = tell(text).expect_err("server 1 does not lead");
        assert_eq!(refused.line, 3);
        assert!(refused.what.contains("Propose 3"), "{}", refused.what);
    }
}
