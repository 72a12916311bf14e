//! JSON as ZooKeeper's commands over HTTP lay it out: keys in their order, `"key" : value`, lists in one line.

use std::fmt::Write;

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Flag(bool),
    /// A whole number.
    Whole(i64),
    /// A number with a point.
    Fraction(f64),
    /// Text.
    Text(String),
    /// Values, in their order.
    List(Vec<Self>),
    /// Keys with values, in their order.
    Map(Vec<(String, Self)>),
}

/// A map of these.
#[must_use]
pub fn map<const N: usize>(entries: [(&str, Json); N]) -> Json {
    let entries = entries.into_iter();
    Json::Map(
        entries
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Json {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<i64> for Json {
    fn from(number: i64) -> Self {
        Self::Whole(number)
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::Whole(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Json {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl Json {
    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.put(1, &mut text);
        text
    }

    fn put(&self, depth: usize, text: &mut String) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Flag(flag) => {
                let _ = write!(text, "{flag}");
            }
            Self::Whole(number) => {
                let _ = write!(text, "{number}");
            }
            // JSON has no word for what is no number.
            Self::Fraction(number) if !number.is_finite() => text.push_str("null"),
            Self::Fraction(number) => {
                let _ = write!(text, "{number:?}");
            }
            Self::Text(of) => put_text(of, text),
            Self::List(values) if values.is_empty() => text.push_str("[ ]"),
            Self::List(values) => {
                for (at, value) in values.iter().enumerate() {
                    text.push_str(if at == 0 { "[ " } else { ", " });
                    value.put(depth, text);
                }
                text.push_str(" ]");
            }
            Self::Map(entries) if entries.is_empty() => text.push_str("{ }"),
            Self::Map(entries) => {
                for (at, (key, value)) in entries.iter().enumerate() {
                    text.push_str(if at == 0 { "{\n" } else { ",\n" });
                    let _ = write!(text, "{:1$}", "", 2 * depth);
                    put_text(key, text);
                    text.push_str(" : ");
                    value.put(depth + 1, text);
                }
                let _ = write!(text, "\n{:1$}}}", "", 2 * (depth - 1));
            }
        }
    }
}

fn put_text(of: &str, text: &mut String) {
    text.push('"');
    for c in of.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(text, "\\u{:04X}", c as u32);
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout is that of ZooKeeper 3.9.5 for `connections` and `dump`.
    #[test]
    fn json_is_laid_out_as_zookeeper_lays_it_out() {
        let conn = map([("queued", 0_u64.into()), ("avg", Json::Fraction(0.0))]);
        let paths = Json::List(vec!["/app/e".into(), "/app/\"e\u{1}".into()]);
        let all = map([
            ("connections", Json::List(vec![conn.clone(), conn])),
            ("secure_connections", Json::List(vec![])),
            ("paths", map([("7", paths)])),
            ("none", Json::Map(vec![])),
            ("zxid", (-1_i64).into()),
            ("open", true.into()),
            ("error", Json::Null),
        ]);
        let wanted = r#"{
  "connections" : [ {
    "queued" : 0,
    "avg" : 0.0
  }, {
    "queued" : 0,
    "avg" : 0.0
  } ],
  "secure_connections" : [ ],
  "paths" : {
    "7" : [ "/app/e", "/app/\"e\u0001" ]
  },
  "none" : { },
  "zxid" : -1,
  "open" : true,
  "error" : null
}"#;
        assert_eq!(all.text(), wanted);
    }
}
