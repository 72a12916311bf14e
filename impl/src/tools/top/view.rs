//! How it is drawn.

use super::gather::Seen;
use super::state::{State, sorted};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};

/// Rows that events get at least.
const EVENTS_ROWS: u16 = 6;

fn colour(state: Option<&str>) -> Color {
    match state {
        Some("leader" | "standalone") => Color::Green,
        Some("follower") => Color::Blue,
        Some("observer" | "read-only") => Color::Magenta,
        _ => Color::Red,
    }
}

fn part(number: Option<f64>) -> String {
    match number {
        None => "-".into(),
        Some(n) if n >= 100.0 || n.fract() == 0.0 => format!("{n:.0}"),
        Some(n) => format!("{n:.1}"),
    }
}

fn whole(number: Option<u64>) -> String {
    number.map_or_else(|| "-".into(), |n| n.to_string())
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

fn titled(title: String) -> Block<'static> {
    let style = Style::new().add_modifier(Modifier::BOLD);
    Block::new()
        .borders(Borders::TOP)
        .title(Span::styled(format!(" {title} "), style))
}

fn heads(names: &[&'static str], texts: usize) -> Row<'static> {
    let cells = names.iter().enumerate().map(|(at, name)| match at < texts {
        true => Cell::from(*name),
        false => right((*name).to_owned()),
    });
    Row::new(cells.collect::<Vec<_>>()).style(Style::new().add_modifier(Modifier::DIM))
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let servers = u16::try_from(state.servers.len()).unwrap_or(u16::MAX);
    let [top, members, clients, events, help] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(servers.saturating_add(3)),
        Constraint::Fill(2),
        Constraint::Min(EVENTS_ROWS),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(headline(state)), top);
    draw_members(frame, members, &state.servers);
    draw_clients(frame, clients, state);
    let rows = usize::from(events.height.saturating_sub(1));
    let newest = state.events.iter().rev().take(rows);
    let lines: Vec<Line<'_>> = newest.map(|event| Line::from(event.as_str())).collect();
    frame.render_widget(
        Paragraph::new(lines).block(titled("what has happened".into())),
        events,
    );
    let keys = "q quit   s sort clients   space pause";
    let dim = Style::new().add_modifier(Modifier::DIM);
    frame.render_widget(Paragraph::new(Span::styled(keys, dim)), help);
}

fn headline(state: &State) -> Line<'_> {
    let serving = state
        .servers
        .iter()
        .filter(|seen| seen.state.is_some())
        .count();
    let leader = state
        .servers
        .iter()
        .find(|seen| seen.state.as_deref() == Some("leader"));
    let mut told = format!(
        "  {}   {serving} of {} serve",
        state.time,
        state.servers.len()
    );
    if let Some(leader) = leader {
        told.push_str(&format!(
            ", {} leads in epoch {}",
            leader.server,
            whole(leader.epoch)
        ));
    } else if state.servers.len() > 1 {
        told.push_str(", nobody is known to lead");
    }
    if state.is_paused {
        told.push_str("   paused");
    }
    let bold = Style::new().add_modifier(Modifier::BOLD);
    Line::from(vec![Span::styled("zabra top", bold), Span::raw(told)])
}

const MEMBERS: [&str; 13] = [
    "server",
    "state",
    "zxid",
    "behind",
    "req/s",
    "avg ms",
    "max",
    "p99 read",
    "p99 write",
    "sync avg",
    "conns",
    "watches",
    "waiting",
];

fn draw_members(frame: &mut Frame<'_>, area: Rect, servers: &[Seen]) {
    let rows = servers.iter().map(|seen| {
        let state = seen.state.as_deref();
        let word = state.unwrap_or("down").to_owned();
        let name = Cell::from(seen.server.clone());
        let state = Cell::from(Span::styled(word, Style::new().fg(colour(state))));
        if seen.state.is_none() {
            let why = seen.error.clone().unwrap_or_default();
            return Row::new(vec![name, state, Cell::from(why)]);
        }
        Row::new(vec![
            name,
            state,
            Cell::from(seen.zxid.clone().unwrap_or_default()),
            right(whole(seen.behind)),
            right(part(seen.requests_per_second)),
            right(part(seen.latency_avg_ms)),
            right(part(seen.latency_max_ms)),
            right(part(seen.read_p99_ms)),
            right(part(seen.write_p99_ms)),
            right(part(seen.sync_avg_ms)),
            right(whole(seen.connections)),
            right(whole(seen.watches)),
            right(whole(seen.outstanding)),
        ])
    });
    let widths = [22, 10, 20, 6, 8, 6, 6, 8, 9, 8, 6, 8, 7].map(Constraint::Length);
    let table = Table::new(rows, widths)
        .header(heads(&MEMBERS, 3))
        .block(titled("members".into()));
    frame.render_widget(table, area);
}

const CLIENTS: [&str; 8] = [
    "client", "at", "session", "last", "req/s", "waiting", "avg ms", "max",
];

fn draw_clients(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let clients = sorted(&state.servers, state.sort);
    let count = clients.len();
    let rows = clients
        .into_iter()
        .take(usize::from(area.height))
        .map(|client| {
            let text = |of: &Option<String>| Cell::from(of.clone().unwrap_or_default());
            Row::new(vec![
                Cell::from(client.client.clone()),
                Cell::from(client.server.clone()),
                text(&client.session),
                text(&client.last_operation),
                right(part(client.requests_per_second)),
                right(client.outstanding.to_string()),
                right(client.latency_avg_ms.to_string()),
                right(client.latency_max_ms.to_string()),
            ])
        });
    let widths = [24, 22, 20, 6, 8, 8, 7, 7].map(Constraint::Length);
    let title = format!("{count} clients, by {}", state.sort.name());
    let table = Table::new(rows, widths)
        .header(heads(&CLIENTS, 4))
        .block(titled(title));
    frame.render_widget(table, area);
}

#[cfg(test)]
mod tests {
    use super::super::gather::Client;
    use super::super::state::Sort;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn screen(state: &State) -> String {
        let mut terminal = Terminal::new(TestBackend::new(150, 22)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y: u16| {
            (0..150)
                .map(|x| buffer[(x, y)].symbol())
                .collect::<String>()
        };
        let rows: Vec<String> = (0..22).map(|y| row(y).trim_end().to_owned()).collect();
        rows.join("\n")
    }

    fn busy(client: &str, rate: f64, outstanding: u64, latency: u64) -> Client {
        Client {
            client: client.into(),
            requests_per_second: Some(rate),
            outstanding,
            latency_avg_ms: latency,
            ..Client::default()
        }
    }

    #[test]
    fn members_clients_and_events_have_their_places_and_clients_are_sorted_by_what_was_chosen() {
        let leads = Seen {
            server: "zoo1:2181".into(),
            state: Some("leader".into()),
            zxid: Some("0x500000010".into()),
            epoch: Some(5),
            behind: Some(0),
            requests_per_second: Some(1234.0),
            latency_avg_ms: Some(0.25),
            clients: vec![
                busy("one:1", 5.0, 9, 1),
                busy("two:2", 50.0, 1, 2),
                busy("three:3", 1.0, 2, 70),
            ],
            ..Seen::default()
        };
        let down = Seen {
            server: "zoo2:2181".into(),
            error: Some("Connection refused".into()),
            ..Seen::default()
        };
        let mut state = State {
            servers: vec![leads, down],
            events: vec![
                "12:00:00  zoo1:2181 leads in epoch 5".into(),
                "12:00:01  zoo2:2181 is down".into(),
            ],
            time: "12:00:02".into(),
            sort: Sort::Requests,
            is_paused: false,
        };
        let told = screen(&state);
        for words in [
            "1 of 2 serve, zoo1:2181 leads in epoch 5",
            "0x500000010",
            "1234",
            "down",
            "Connection refused",
            "3 clients, by requests",
            "q quit",
        ] {
            assert!(told.contains(words), "{words} is not in\n{told}");
        }
        let place = |told: &str, word: &str| told.find(word).unwrap();
        let newest = place(&told, "12:00:01  zoo2");
        assert!(newest < place(&told, "12:00:00  zoo1"), "{told}");
        for (sort, first) in [
            (Sort::Requests, "two:2"),
            (Sort::Waiting, "one:1"),
            (Sort::Latency, "three:3"),
        ] {
            state.sort = sort;
            let told = screen(&state);
            let others = ["one:1", "two:2", "three:3"]
                .into_iter()
                .filter(|name| *name != first);
            assert!(
                others
                    .clone()
                    .all(|other| place(&told, first) < place(&told, other)),
                "{told}"
            );
        }
    }
}
