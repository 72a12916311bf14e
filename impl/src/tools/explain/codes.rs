//! `zabra explain CODE`: what a code of the log means.

use super::super::arguments::Output;
use super::super::error::ToolError;
use super::super::out::Out;
use crate::codes::{Code, Meaning};
use serde::Serialize;

/// Where lines of text end.
const COLUMNS: usize = 100;
/// What stands before them.
const LABEL: usize = 9;

#[derive(Serialize)]
struct Document {
    kind: &'static str,
    code: String,
    title: &'static str,
    cause: &'static str,
    effect: &'static str,
    remedy: &'static str,
    example: &'static str,
}

impl Document {
    fn of(code: Code) -> Self {
        let Meaning {
            title,
            cause,
            effect,
            remedy,
            example,
        } = *code.meaning();
        Self {
            kind: "code",
            code: code.to_string(),
            title,
            cause,
            effect,
            remedy,
            example,
        }
    }
}

/// The codes that these words are.
///
/// Errors: one is none.
pub(super) fn read(words: &[&str]) -> Result<Vec<Code>, ToolError> {
    let code = |word: &&str| {
        word.parse().map_err(|_| {
            ToolError::Refused(format!(
                "{word}: there is no such code; zabra explain --codes lists them, and a newer version may have more"
            ))
        })
    };
    words.iter().map(code).collect()
}

/// Tells all of them, each in a line.
pub(super) fn list(out: &mut Out, output: Output) -> Result<(), ToolError> {
    for code in Code::ALL {
        match output {
            Output::Json => out.json(&Document::of(*code))?,
            Output::Text => out.line(format_args!("{code}  {}", code.meaning().title))?,
        }
    }
    Ok(())
}

/// Tells what these mean.
pub(super) fn tell(out: &mut Out, codes: &[Code], output: Output) -> Result<(), ToolError> {
    for (at, code) in codes.iter().enumerate() {
        let document = Document::of(*code);
        if output == Output::Json {
            out.json(&document)?;
            continue;
        }
        if at > 0 {
            out.text("\n")?;
        }
        out.line(format_args!("{code}  {}\n", document.title))?;
        for (label, text) in [
            ("cause", document.cause),
            ("clients", document.effect),
            ("remedy", document.remedy),
        ] {
            out.text(&paragraph(label, text))?;
        }
        // As it is: somebody copies it.
        out.line(format_args!("{:LABEL$}{}", "example", document.example))?;
    }
    Ok(())
}

/// The text in lines behind its label.
fn paragraph(label: &str, text: &str) -> String {
    let mut lines = format!("{label:LABEL$}");
    let mut column = LABEL;
    for (at, word) in text.split(' ').enumerate() {
        if at > 0 && column + 1 + word.len() > COLUMNS {
            lines.push('\n');
            lines.push_str(&" ".repeat(LABEL));
            column = LABEL;
        } else if at > 0 {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += word.len();
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words_and_stand_under_each_other() {
        let text = "word ".repeat(60);
        let told = paragraph("cause", text.trim());
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines.len() > 2 && lines[0].starts_with("cause    word"));
        assert!(
            lines[1..]
                .iter()
                .all(|line| line.starts_with("         word"))
        );
        assert!(
            lines
                .iter()
                .all(|line| line.len() <= COLUMNS && !line.ends_with(' '))
        );
        assert_eq!(told.split_whitespace().count(), 61);
    }
}
