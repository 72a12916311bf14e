//! Charts of small runs: nothing that happened is left out, and nothing in a text can break the picture.

use super::*;
use crate::checker::bounds;
use crate::checker::explore::{Options, Progress, explore};
use crate::checker::walk;
use crate::diagram::escape;

/// A walk of that configuration that somebody would keep.
fn walk_of(name: &str, seed: u64) -> (Zab, usize, Vec<Action>) {
    let model = Zab::new(bounds::find(name).unwrap());
    let walk = walk::walks(&model, seed, 50, 120, 1).remove(0);
    (model, walk.initial, walk.actions)
}

/// Frames and votes, by what the trace says of them.
fn sent(model: &Zab, initial: usize, actions: &[Action]) -> (usize, usize) {
    let mut c = model.initial().into_iter().nth(initial).unwrap();
    let world = &model.world;
    let underway: usize = c
        .wires(world)
        .map(|w| w.inbox(End::Leader).len() + w.inbox(End::Learner).len())
        .sum();
    let waiting: usize = (0..c.n())
        .flat_map(|to| c.mail(world, to))
        .map(Vec::len)
        .sum();
    let mut all = (underway, waiting);
    for (n, action) in actions.iter().enumerate() {
        let (step, _, _) = trace::record(model, &mut c, n + 1, *action);
        all = (all.0 + step.frames.len(), all.1 + step.votes.len());
    }
    all
}

#[test]
fn every_step_and_every_packet_of_a_walk_is_drawn() {
    for seed in 1..=5 {
        let (model, initial, actions) = walk_of("e2e-walk", seed);
        let chart = Chart::of(&model, initial, &actions, "a walk").unwrap();
        let (svg, mermaid) = (chart.svg(), chart.mermaid());
        let mut c = model.initial().into_iter().nth(initial).unwrap();
        for (n, action) in actions.iter().enumerate() {
            let (step, _, _) = trace::record(&model, &mut c, n + 1, *action);
            assert!(svg.contains(&format!(">{}.</text>", step.n)), "{step:?}");
            let text = format!("{}. {}", step.n, escape(&step.text));
            assert!(mermaid.contains(&text), "{text}");
        }
        let (frames, votes) = sent(&model, initial, &actions);
        assert!(frames > 0 && votes > 0);
        let arrows = |vote: bool| chart.arrows.iter().filter(|a| a.vote == vote).count();
        assert_eq!((arrows(false), arrows(true)), (frames, votes));
        let lines = |class: &str| svg.matches(&format!("<line class=\"{class}")).count();
        assert_eq!((lines("packet"), lines("vote")), (frames, votes));
        let drawn = ["->>", "-x", "--)"].map(|head| {
            let of = mermaid
                .lines()
                .filter(|l| l.trim_start().starts_with('S') && l.contains(head));
            of.count()
        });
        assert_eq!(drawn.iter().sum::<usize>(), frames + votes);
    }
}

#[test]
fn an_arrow_ends_in_the_step_that_receives_the_packet() {
    let (model, initial, actions) = walk_of("rec-warm-c1d1", 3);
    let chart = Chart::of(&model, initial, &actions, "a walk").unwrap();
    for (n, action) in actions.iter().enumerate() {
        let fine = matches!(action, Action::Receive { .. });
        let ends = |a: &&Arrow| a.end == Ending::Received(n + 1);
        let ended: Vec<&Arrow> = chart.arrows.iter().filter(ends).collect();
        if fine {
            assert_eq!(ended.len(), 1, "step {}: {ended:?}", n + 1);
            let text = &chart.rows[n + 1].text;
            assert!(text.contains(&ended[0].text), "{text}: {ended:?}");
        }
    }
    for a in &chart.arrows {
        if let Ending::Received(at) | Ending::Lost(at) | Ending::Replaced(at) = a.end {
            assert!(a.sent <= at, "{a:?}");
        }
    }
}

#[test]
fn a_crash_and_a_broken_connection_are_marked_and_lose_what_is_on_the_way() {
    let bounds = bounds::find("zab-cold-1").unwrap();
    let model = Zab::new(bounds);
    // Server 3 leads, 2 follows and dials; its FOLLOWERINFO is on the way when the leader's power fails.
    let mut actions = Vec::from([
        Action::Lead { server: 3 },
        Action::Follow {
            server: 2,
            leader: 3,
        },
        Action::Connect { server: 2 },
        Action::Crash { server: 3, kept: 0 },
    ]);
    let chart = Chart::of(&model, 0, &actions, "crash").unwrap();
    let info = chart
        .arrows
        .iter()
        .find(|a| a.text.contains("FOLLOWERINFO"));
    assert_eq!(info.unwrap().end, Ending::Lost(4));
    assert_eq!(chart.rows[4].fault, Some(Fault::Crash(2)));
    assert!(chart.svg().contains("class=\"small fault\""));
    actions[3] = Action::Disconnect { link: 4 };
    let chart = Chart::of(&model, 0, &actions, "cut").unwrap();
    assert_eq!(chart.rows[4].fault, Some(Fault::Cut(2, 1)));
    let svg = chart.svg();
    assert!(svg.contains("<line class=\"cut\""));
    // What is in flight may still arrive when the network breaks.
    assert!(svg.contains("<line class=\"packet underway\""));
    let mermaid = chart.mermaid();
    assert!(mermaid.contains("S2--)S3: FOLLOWERINFO"), "{mermaid}");
}

#[test]
fn texts_are_escaped() {
    let model = Zab::new(bounds::find("zab-cold-1").unwrap());
    let title = "a <b> & \"c\" 'd'; #5\u{1}";
    let chart = Chart::of(&model, 0, &[], title).unwrap();
    let svg = chart.svg();
    assert!(svg.contains("a &lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;; #5 "));
    assert!(
        chart
            .mermaid()
            .contains("a #lt;b#gt; & \"c\" 'd'#59; #35;5")
    );
}

#[test]
fn tags_are_balanced_and_two_drawings_are_the_same() {
    let model = Zab::new(bounds::find("zoo/QuorumIsHalf").unwrap());
    let found = explore(&model, &Options::default(), &Progress::default()).unwrap();
    let found = found.violation.unwrap();
    let draw = || Chart::of(&model, found.initial, &found.actions, found.invariant).unwrap();
    let svg = draw().svg();
    assert_eq!(
        (svg.clone(), draw().mermaid()),
        (draw().svg(), draw().mermaid())
    );
    let mut open: Vec<&str> = Vec::new();
    for tag in svg.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let name = tag
            .trim_start_matches('/')
            .split([' ', '\n'])
            .next()
            .unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn there_is_no_chart_of_an_initial_state_that_does_not_exist() {
    let model = Zab::new(bounds::find("zab-cold-1").unwrap());
    assert!(Chart::of(&model, 7, &[], "").is_none());
}
