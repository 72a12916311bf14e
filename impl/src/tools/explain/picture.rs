//! What happened, as a message-sequence chart.

use super::story::{Line, Message, shown};
use crate::storage::StorageError;
use crate::tools::error::ToolError;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use zabra_model::diagram::{Arrow, Chart, Ending, Look, Row, first_notes, notes};

/// Steps of one picture: whoever wants others names a time.
const ROWS_MAX: usize = 400;
/// What was heard may stand before what was said, if the clocks of the two servers differ by no more than this, ms.
const CLOCKS_MS: u64 = 1000;

/// Draws these steps of `all` into a file.
pub(super) fn draw(all: &[Line], lines: &[&Line], path: &Path) -> Result<(), ToolError> {
    if lines.is_empty() {
        let what = "no step is in it that could be drawn; look at --since and --until";
        return Err(ToolError::Refused(what.into()));
    }
    if lines.len() > ROWS_MAX {
        let what = format!(
            "{} steps are too many for one picture, which has room for {ROWS_MAX}; name a time by --since and --until",
            lines.len()
        );
        return Err(ToolError::Refused(what));
    }
    std::fs::write(path, chart(all, lines).svg()).map_err(|source| {
        let path = path.to_owned();
        ToolError::Data(StorageError::Io {
            op: "write",
            path,
            source,
        })
    })
}

/// A picture of these steps of one server: what it heard was said by the others, of whom nothing else is known.
pub(super) fn of_one(all: &[Line], lines: &[&Line]) -> Option<String> {
    if lines.is_empty() {
        return None;
    }
    let said = |line: &Line| {
        let heard = line.heard.clone()?;
        Some(Line {
            time: line.time,
            server: heard.from,
            step: 0,
            text: "says this".into(),
            heard: None,
            said: vec![heard],
            look: None,
        })
    };
    let mut both = Vec::with_capacity(2 * lines.len());
    for line in lines {
        both.extend(said(line));
        both.push((*line).clone());
    }
    let both: Vec<&Line> = both.iter().collect();
    let (mut chart, own) = (chart(all, &both), lines[0].server);
    chart.title = format!("{}, as server {own} recorded it", chart.title);
    let is_other = |column: usize| chart.ids.get(column).is_some_and(|id| *id != own);
    for row in &mut chart.rows {
        // They are not down: nothing is known of them but what they said.
        row.notes.retain(|note| !is_other(note.server));
    }
    for arrow in &mut chart.arrows {
        if arrow.end == Ending::Underway && is_other(arrow.to) {
            arrow.end = Ending::Received((arrow.sent + 1).min(chart.rows.len() - 1));
        }
    }
    Some(chart.svg())
}

/// The chart of these steps, what is said before what is heard.
fn chart(all: &[Line], lines: &[&Line]) -> Chart {
    let mut ids: Vec<u64> = lines.iter().map(|line| line.server).collect();
    ids.sort_unstable();
    ids.dedup();
    let column = |id: u64| ids.binary_search(&id).ok();
    let mut looks: Vec<Look> = ids.iter().map(|id| before(*id, all, lines)).collect();
    let mut rows = vec![Row {
        text: "at first".into(),
        fault: None,
        notes: first_notes(&looks),
        acting: Vec::new(),
        looks: looks.clone(),
    }];
    let mut arrows: Vec<Arrow> = Vec::new();
    let mut underway: BTreeMap<(usize, usize, bool), VecDeque<usize>> = BTreeMap::new();
    for line in in_order(lines) {
        let Some(me) = column(line.server) else {
            continue;
        };
        let row = rows.len();
        if let Some(heard) = &line.heard
            && let Some(from) = column(heard.from)
            && let Some(queue) = underway.get_mut(&(from, me, heard.is_vote))
            && let Some(at) = queue.iter().position(|at| arrows[*at].text == heard.text)
        {
            // Votes that were not heard gave way to this one.
            for skipped in queue.drain(..at) {
                arrows[skipped].end = match heard.is_vote {
                    true => Ending::Replaced(row),
                    false => Ending::Lost(row),
                };
            }
            if let Some(arrow) = queue.pop_front() {
                arrows[arrow].end = Ending::Received(row);
            }
        }
        let before = looks.clone();
        if let Some(look) = &line.look {
            looks[me] = look.clone();
        }
        for said in &line.said {
            if let Some(to) = column(said.to).filter(|to| *to != me) {
                let queue = underway.entry((me, to, said.is_vote)).or_default();
                queue.push_back(arrows.len());
                arrows.push(arrow(said, me, to, row));
            }
        }
        rows.push(Row {
            text: format!("{} server {}: {}", time_of(line), line.server, cause(line)),
            fault: None,
            notes: notes(&before, &looks, None),
            acting: vec![me],
            looks: looks.clone(),
        });
    }
    let (first, last) = (lines[0].time, lines[lines.len() - 1].time);
    Chart {
        title: format!("{} to {}", shown(first), shown(last)),
        ids,
        rows,
        arrows,
    }
}

/// A server before the first of its steps that are drawn: down, if that is its start, or if nothing is known of it.
fn before(id: u64, all: &[Line], lines: &[&Line]) -> Look {
    let first = lines.iter().find(|line| line.server == id);
    let first = first.filter(|line| line.step > 0);
    let look = first.and_then(|first| {
        let mut later_first = all.iter().rev();
        later_first.find_map(|l| {
            let is_it = l.server == id && l.time < first.time;
            is_it.then(|| l.look.clone()).flatten()
        })
    });
    look.unwrap_or_else(down)
}

/// The time of the day.
fn time_of(line: &Line) -> String {
    let shown = shown(line.time);
    let time = shown.split_once('T').map_or(&*shown, |(_, time)| time);
    time.trim_end_matches('Z').to_owned()
}

/// What a step began with: the rest is drawn.
fn cause(line: &Line) -> &str {
    let first = line.text.split("; ").next();
    first.unwrap_or_default()
}

fn arrow(said: &Message, from: usize, to: usize, sent: usize) -> Arrow {
    Arrow {
        from,
        to,
        text: said.text.clone(),
        vote: said.is_vote,
        sent,
        end: Ending::Underway,
    }
}

fn down() -> Look {
    Look {
        role: None,
        serving: None,
        accepted: 0,
        current: 0,
        log: "-".into(),
        pending: String::new(),
        cached: String::new(),
        applied: None,
    }
}

/// The steps, each server's in its own order, by their clocks; but nothing is heard before it was said.
fn in_order<'a>(lines: &[&'a Line]) -> Vec<&'a Line> {
    let mut queues: BTreeMap<u64, VecDeque<&Line>> = BTreeMap::new();
    for line in lines {
        queues.entry(line.server).or_default().push_back(line);
    }
    let mut ordered = Vec::with_capacity(lines.len());
    while ordered.len() < lines.len() {
        let heads = queues.values().filter_map(|queue| queue.front());
        let is_early = |line: &Line| {
            line.heard.as_ref().is_some_and(|heard| {
                let by = queues.get(&heard.from);
                let mut soon = by.into_iter().flatten();
                let mut soon = soon
                    .by_ref()
                    .take_while(|l| l.time <= line.time + CLOCKS_MS);
                // It is said in a step that is not drawn yet, and by none that is.
                soon.any(|l| l.said.contains(heard))
                    && !ordered.iter().any(|l: &&Line| says(l, heard, line))
            })
        };
        let earliest = |among: Vec<&&'a Line>| among.into_iter().min_by_key(|l| l.time).copied();
        let ready = heads.clone().filter(|line| !is_early(line)).collect();
        let Some(next) = earliest(ready).or_else(|| earliest(heads.collect())) else {
            break;
        };
        if let Some(queue) = queues.get_mut(&next.server) {
            queue.pop_front();
        }
        ordered.push(next);
    }
    ordered
}

/// Whether this step may have said what was heard in that one.
fn says(said_in: &Line, heard: &Message, heard_in: &Line) -> bool {
    said_in.said.contains(heard) && said_in.time + 60_000 > heard_in.time
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time: u64, server: u64, heard: Option<(u64, &str)>, said: &[(u64, &str)]) -> Line {
        let message = |from, to, text: &str| Message {
            from,
            to,
            is_vote: true,
            text: text.into(),
        };
        Line {
            time,
            server,
            step: time,
            text: format!("step at {time}; and more"),
            heard: heard.map(|(from, text)| message(from, server, text)),
            said: said
                .iter()
                .map(|(to, text)| message(server, *to, text))
                .collect(),
            look: Some(Look {
                role: Some(zabra_model::vote::ServerState::Looking),
                ..down()
            }),
        }
    }

    fn ends(chart: &Chart) -> Vec<(&str, Ending)> {
        let arrows = chart.arrows.iter();
        arrows
            .map(|arrow| (arrow.text.as_str(), arrow.end))
            .collect()
    }

    #[test]
    fn a_vote_ends_where_it_is_heard_and_one_before_it_gave_way() {
        let lines = [
            line(1, 2, None, &[(7, "old")]),
            line(2, 2, None, &[(7, "new")]),
            line(3, 7, Some((2, "new")), &[(2, "mine")]),
        ];
        let all: Vec<&Line> = lines.iter().collect();
        let chart = chart(&lines, &all);
        assert_eq!(chart.ids, [2, 7]);
        assert_eq!(
            ends(&chart),
            [
                ("old", Ending::Replaced(3)),
                ("new", Ending::Received(3)),
                ("mine", Ending::Underway)
            ]
        );
        let svg = chart.svg();
        for part in ["server 7", "step at 3", "LOOKING"] {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        assert!(!svg.contains("and more"));
    }

    #[test]
    fn a_picture_begins_with_what_was_before_it() {
        let mut lines = [
            line(1, 2, None, &[]),
            line(9, 2, None, &[]),
            line(9, 3, None, &[]),
        ];
        lines[2].step = 0;
        let drawn: Vec<&Line> = lines[1..].iter().collect();
        let chart = chart(&lines, &drawn);
        let roles: Vec<_> = chart.rows[0].looks.iter().map(|look| look.role).collect();
        assert_eq!(roles, [Some(zabra_model::vote::ServerState::Looking), None]);
    }

    #[test]
    fn nothing_is_heard_before_it_was_said_though_a_clock_is_behind() {
        let lines = [
            line(100, 1, Some((2, "vote")), &[]),
            line(130, 2, None, &[(1, "vote")]),
        ];
        let lines: Vec<&Line> = lines.iter().collect();
        let order: Vec<u64> = in_order(&lines).iter().map(|l| l.time).collect();
        assert_eq!(order, [130, 100]);
        assert_eq!(ends(&chart(&[], &lines)), [("vote", Ending::Received(2))]);
        // Of one whose record does not tell who said it, and of one that is far away in time.
        let lines = [
            line(100, 1, Some((3, "vote")), &[]),
            line(5000, 2, None, &[(1, "vote")]),
        ];
        let lines: Vec<&Line> = lines.iter().collect();
        let order: Vec<u64> = in_order(&lines).iter().map(|l| l.time).collect();
        assert_eq!(order, [100, 5000]);
    }

    #[test]
    fn what_does_not_fit_into_a_picture_is_refused_with_what_to_do() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("picture.svg");
        let said = draw(&[], &[], &path).unwrap_err().to_string();
        assert!(said.contains("--since"), "{said}");
        let many: Vec<Line> = (0..401).map(|n| line(n, 1, None, &[])).collect();
        let many: Vec<&Line> = many.iter().collect();
        let said = draw(&[], &many, &path).unwrap_err().to_string();
        assert!(said.contains("401 steps"), "{said}");
        draw(&[], &many[..400], &path).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("<svg"));
        let nowhere = scratch.path().join("no/picture.svg");
        let said = draw(&[], &many[..1], &nowhere).unwrap_err().to_string();
        assert!(said.contains("no/picture.svg"), "{said}");
    }
}
