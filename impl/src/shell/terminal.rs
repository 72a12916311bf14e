//! A line on a terminal: history, and completion of commands and of paths that are there.

use super::commands::COMMANDS;
use super::interpreter::{Interpreter, Then};
use super::path;
use crate::codes::Code;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Handle;
use zookeeper_client::Client;

/// How many lines the file of the history keeps.
const HISTORY_MAX: usize = 1000;
/// How long completion waits for a server.
const COMPLETION: Duration = Duration::from_secs(2);
/// Where lines are kept from one time to the next, in the home directory.
const HISTORY_FILE: &str = ".zabra_history";

/// Reads and carries out lines until `quit` or the end of input.
pub(super) fn run(shell: &mut Interpreter, runtime: &Handle) -> rustyline::Result<()> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .max_history_size(HISTORY_MAX)?
        .build();
    let mut editor: Editor<Words, DefaultHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Words {
        runtime: runtime.clone(),
        client: None,
    }));
    let file = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(HISTORY_FILE));
    if let Some(file) = &file {
        // It is not there the first time.
        let _ = editor.load_history(file);
    }
    let printer = editor.create_external_printer()?;
    shell.events.above_the_line(Box::new(printer));
    loop {
        if let Some(words) = editor.helper_mut() {
            words.client = shell.client();
        }
        let line = match editor.readline(&shell.prompt()) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error),
        };
        // Nobody else uses the connection meanwhile, so that the last one to leave it ends the session.
        if let Some(words) = editor.helper_mut() {
            words.client = None;
        }
        // A password has no place in a file.
        if !line.trim_start().starts_with("addauth") {
            editor.add_history_entry(line.as_str())?;
        }
        if runtime.block_on(shell.line(&line)) == Then::Leave {
            break;
        }
    }
    if let Some(file) = &file
        && let Err(error) = editor.save_history(file)
    {
        tracing::warn!(code = %Code::HistoryNotKept, %error, "the history is not kept: {} cannot be written", file.display());
    }
    Ok(())
}

/// What completes a word.
struct Words {
    runtime: Handle,
    client: Option<Client>,
}

impl Words {
    fn children(&self, parent: &str) -> Vec<String> {
        let Some(client) = &self.client else {
            return Vec::new();
        };
        let listed = self.runtime.block_on(async {
            tokio::time::timeout(COMPLETION, client.list_children(parent)).await
        });
        // Without an answer nothing is completed.
        listed.ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// Where the word before the cursor begins, and what may stand there; `children` lists a node's.
fn candidates(before: &str, children: impl Fn(&str) -> Vec<String>) -> (usize, Vec<String>) {
    let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let word = &before[start..];
    let mut found: Vec<String> = match word.rsplit_once('/') {
        Some((parent, begun)) if word.starts_with('/') => {
            let parent = if parent.is_empty() { "/" } else { parent };
            let names = children(parent)
                .into_iter()
                .filter(|n| n.starts_with(begun));
            names.map(|name| path::join(parent, &name)).collect()
        }
        _ if before[..start].trim().is_empty() => {
            let names = COMMANDS.iter().map(|c| c.name);
            names
                .filter(|n| n.starts_with(word))
                .map(|n| format!("{n} "))
                .collect()
        }
        _ => Vec::new(),
    };
    found.sort();
    (start, found)
}

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(candidates(&line[..pos], |parent| self.children(parent)))
    }
}

impl Helper for Words {}
impl Highlighter for Words {}
impl Validator for Words {}

impl Hinter for Words {
    type Hint = String;
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn commands_come_first_and_paths_where_a_slash_begins_them() {
        let tree = |parent: &str| match parent {
            "/" => vec!["zoo".to_owned(), "zebra".to_owned(), "app".to_owned()],
            "/app" => vec!["b".to_owned(), "a".to_owned()],
            _ => Vec::new(),
        };
        for (before, start, found) in [
            ("getA", 0, vec!["getAcl ", "getAllChildrenNumber "]),
            ("get /z", 4, vec!["/zebra", "/zoo"]),
            ("get -s /app/", 7, vec!["/app/a", "/app/b"]),
            ("get x", 4, vec![]),
            ("get /none/", 4, vec![]),
        ] {
            let (at, all) = candidates(before, tree);
            assert_eq!(
                (at, all),
                (start, found.iter().map(|f| (*f).to_owned()).collect()),
                "{before}"
            );
        }
    }
}
