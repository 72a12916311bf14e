//! What a command says, as text in the layout of ZooKeeper's shell and as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use zookeeper_client::{Acl, Permission, Stat, WatchedEvent};

/// The letters of permissions in the order in which they are printed.
pub(super) const PERMISSIONS: [(char, Permission); 5] = [
    ('c', Permission::CREATE),
    ('d', Permission::DELETE),
    ('r', Permission::READ),
    ('w', Permission::WRITE),
    ('a', Permission::ADMIN),
];

/// The answer of one command.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// For standard output.
    pub(super) out: String,
    /// For standard error, though the command was carried out.
    pub(super) err: String,
    /// The document that stands for both.
    pub(super) json: Map<String, Value>,
}

impl Answer {
    pub(super) fn line(&mut self, line: impl AsRef<str>) {
        self.out.push_str(line.as_ref());
        self.out.push('\n');
    }

    pub(super) fn note(&mut self, line: impl AsRef<str>) {
        self.err.push_str(line.as_ref());
        self.err.push('\n');
    }

    pub(super) fn field(&mut self, name: &str, value: impl Into<Value>) {
        self.json.insert(name.to_owned(), value.into());
    }

    pub(super) fn stat(&mut self, stat: &Stat) {
        self.out.push_str(&stat_text(stat, &zone()));
        self.field("stat", stat_json(stat));
    }

    /// Names in brackets, sorted.
    pub(super) fn list(&mut self, field: &str, mut names: Vec<String>) {
        names.sort();
        self.line(format!("[{}]", names.join(", ")));
        self.field(field, names);
    }

    pub(super) fn acl(&mut self, acl: &[Acl]) {
        let mut entries = Vec::new();
        for entry in acl {
            let letters = letters(entry.permission());
            // The id stands on a line of its own, and its quotes have no partners: as ZooKeeper's shell prints it.
            self.line(format!("'{},'{}", entry.scheme(), entry.id()));
            self.line(format!(": {letters}"));
            entries
                .push(json!({"scheme": entry.scheme(), "id": entry.id(), "permissions": letters}));
        }
        self.field("acl", entries);
    }

    /// A node's data: as text, or in the form that was asked for.
    pub(super) fn data(&mut self, data: &[u8], form: Form) {
        let base64 = || STANDARD.encode(data);
        self.line(match form {
            Form::Text => String::from_utf8_lossy(data).into_owned(),
            Form::Base64 => base64(),
            Form::Hex => hex(data),
        });
        match (form, std::str::from_utf8(data)) {
            (Form::Text, Ok(text)) => self.field("data", text),
            // JSON has no bytes.
            (Form::Text | Form::Base64 | Form::Hex, _) => self.field("base64", base64()),
        }
    }
}

/// How data is printed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Text,
    Base64,
    Hex,
}

/// Those of what is allowed.
pub(super) fn letters(permission: Permission) -> String {
    let has = PERMISSIONS.iter().filter(|(_, p)| permission.has(*p));
    has.map(|(letter, _)| letter).collect()
}

/// The zone in which times are printed: of the variable TZ or of the machine, as Java's shell takes it.
fn zone() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}

/// `Thu Jan 01 00:00:00 UTC 1970`, as Java writes a date.
fn date(millis: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(millis) {
        Ok(time) => {
            let local = time.to_zoned_datetime(zone.clone());
            local.strftime("%a %b %d %H:%M:%S %Z %Y").to_string()
        }
        // No calendar has it; a damaged clock wrote it.
        Err(_) => millis.to_string(),
    }
}

fn stat_text(stat: &Stat, zone: &TimeZone) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name} = {value}");
    };
    line("cZxid", format!("{:#x}", stat.czxid));
    line("ctime", date(stat.ctime, zone));
    line("mZxid", format!("{:#x}", stat.mzxid));
    line("mtime", date(stat.mtime, zone));
    line("pZxid", format!("{:#x}", stat.pzxid));
    line("cversion", stat.cversion.to_string());
    line("dataVersion", stat.version.to_string());
    line("aclVersion", stat.aversion.to_string());
    line("ephemeralOwner", format!("{:#x}", stat.ephemeral_owner));
    line("dataLength", stat.data_length.to_string());
    line("numChildren", stat.num_children.to_string());
    text
}

/// By the names that are printed; zxids and sessions in hex, times in milliseconds.
fn stat_json(stat: &Stat) -> Value {
    json!({
        "cZxid": format!("{:#x}", stat.czxid),
        "ctime": stat.ctime,
        "mZxid": format!("{:#x}", stat.mzxid),
        "mtime": stat.mtime,
        "pZxid": format!("{:#x}", stat.pzxid),
        "cversion": stat.cversion,
        "dataVersion": stat.version,
        "aclVersion": stat.aversion,
        "ephemeralOwner": format!("{:#x}", stat.ephemeral_owner),
        "dataLength": stat.data_length,
        "numChildren": stat.num_children,
    })
}

/// Sixteen bytes a line, in hex and as ASCII, in the frame of ZooKeeper's shell; nothing for no bytes.
fn hex(data: &[u8]) -> String {
    if data.is_empty() {
        return String::new();
    }
    const RULE: &str =
        "+--------+-------------------------------------------------+----------------+";
    let mut text = format!(
        "         +-------------------------------------------------+\n         |{}|\n{RULE}",
        "  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f "
    );
    for (row, bytes) in data.chunks(16).enumerate() {
        let pairs: String = bytes.iter().map(|b| format!(" {b:02x}")).collect();
        let ascii: String = bytes
            .iter()
            .map(|b| {
                if matches!(b, 0x20..=0x7e) {
                    char::from(*b)
                } else {
                    '.'
                }
            })
            .collect();
        let _ = write!(text, "\n|{:08x}|{pairs:<48} |{ascii:<16}|", row * 16);
    }
    text + "\n" + RULE
}

/// What happened to a watched node, or to the session, as ZooKeeper's shell prints it.
pub(super) fn event_text(state: &str, kind: &str, path: Option<&str>, zxid: i64) -> String {
    let path = path.unwrap_or("null");
    format!("\nWATCHER::\n\nWatchedEvent state:{state} type:{kind} path:{path} zxid: {zxid}\n")
}

pub(super) fn event_json(state: &str, kind: &str, path: Option<&str>, zxid: i64) -> String {
    let event = json!({"event": {"state": state, "type": kind, "path": path, "zxid": format!("{zxid:#x}")}});
    format!("{event}\n")
}

/// The parts of a node's event: its kind, path and zxid.
pub(super) fn parts(event: &WatchedEvent) -> (String, &str, i64) {
    (event.event_type.to_string(), &event.path, event.zxid)
}

#[cfg(test)]
mod tests {
    use super::{Answer, Form, date, hex, stat_json, stat_text};
    use jiff::tz::TimeZone;
    use zookeeper_client::Stat;

    const STAT: Stat = Stat {
        czxid: 0x1_0000_0004,
        mzxid: 0x1_0000_000f,
        pzxid: 0x1_0000_0004,
        ctime: 1_795_956_315_000,
        mtime: 1_795_956_315_000,
        version: 2,
        cversion: 1,
        aversion: 3,
        ephemeral_owner: -1,
        data_length: 5,
        num_children: 4,
    };

    #[test]
    fn a_stat_has_zookeepers_layout() {
        let text = stat_text(&STAT, &TimeZone::UTC);
        let expected = "cZxid = 0x100000004\nctime = Sun Nov 29 12:45:15 UTC 2026\nmZxid = 0x10000000f\n\
                        mtime = Sun Nov 29 12:45:15 UTC 2026\npZxid = 0x100000004\ncversion = 1\ndataVersion = 2\naclVersion = 3\n\
                        ephemeralOwner = 0xffffffffffffffff\ndataLength = 5\nnumChildren = 4\n";
        assert_eq!(text, expected);
        assert_eq!(stat_json(&STAT)["mZxid"], "0x10000000f");
    }

    #[test]
    fn a_date_is_written_as_java_writes_it() {
        assert_eq!(date(0, &TimeZone::UTC), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(date(i64::MAX, &TimeZone::UTC), i64::MAX.to_string());
    }

    #[test]
    fn bytes_are_framed_sixteen_a_line() {
        let lines: Vec<_> = hex(b"0123456789abcdefg\x00")
            .lines()
            .map(str::to_owned)
            .collect();
        assert_eq!(
            lines[3],
            "|00000000| 30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66 |0123456789abcdef|"
        );
        assert_eq!(
            lines[4],
            "|00000010| 67 00                                           |g.              |"
        );
        assert_eq!(lines.len(), 6);
        assert_eq!(hex(b""), "");
    }

    #[test]
    fn data_that_is_no_text_is_base64_in_json() {
        let mut answer = Answer::default();
        answer.data(&[0xff, 0], Form::Text);
        assert_eq!(answer.json["base64"], "/wA=");
        let mut answer = Answer::default();
        answer.data("ä".as_bytes(), Form::Text);
        assert_eq!(
            (answer.out.as_str(), &answer.json["data"]),
            ("ä\n", &"ä".into())
        );
    }
}
