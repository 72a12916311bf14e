//! Small helpers: a four-letter word, the id of a digest.

use super::error::{FAILED, ToolError};
use super::out::Out;
use super::status::{split, word as ask};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use sha1::{Digest, Sha1};
use std::io::{self, BufRead};
use std::time::Duration;

/// The word, and who is asked.
#[derive(Args)]
pub struct WordArgs {
    /// The word: srvr, stat, mntr, ruok, conf, cons, envi, dirs, dump, isro, wchs, ... The server answers those of 4lw.commands.whitelist
    #[arg(value_parser = four_letters)]
    word: String,
    /// The server
    #[arg(default_value = "localhost:2181", value_name = "HOST:PORT")]
    server: String,
    /// How long to wait for a connection, and for each piece of the answer, in milliseconds
    #[arg(long, default_value_t = 5000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    timeout: u64,
}

/// Watches of a large server are many lines.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

fn four_letters(word: &str) -> Result<String, String> {
    if word.len() == 4 && word.bytes().all(|b| b.is_ascii_lowercase()) {
        return Ok(word.to_owned());
    }
    Err("a word has four letters, as srvr".into())
}

pub(super) fn word(args: &WordArgs) -> Result<u8, ToolError> {
    let (address, port) = split(&args.server)?;
    let patience = Duration::from_millis(args.timeout);
    let answer = match ask(&address, port, &args.word, patience, ANSWER_BYTES_MAX) {
        Ok(answer) => answer,
        Err(error) => {
            let what = format!(
                "{address}:{port}: {error}; does a server run there, on a port without TLS?"
            );
            return Err(ToolError::Refused(what));
        }
    };
    let mut out = Out::new();
    out.text(&answer)?;
    if !answer.is_empty() && !answer.ends_with('\n') {
        out.text("\n")?;
    }
    out.flush()?;
    Ok(if answer.is_empty() { FAILED } else { 0 })
}

/// Whose digest.
#[derive(Args)]
pub struct DigestArgs {
    /// USER:PASSWORD, several at a time; without one, lines from standard input, where no list of processes shows them
    #[arg(value_name = "USER:PASSWORD")]
    names: Vec<String>,
}

pub(super) fn digest(args: &DigestArgs) -> Result<u8, ToolError> {
    let mut out = Out::new();
    for name in &args.names {
        out.line(format_args!("{}", id(name)?))?;
    }
    if args.names.is_empty() {
        for line in io::stdin().lock().lines() {
            let line = line.map_err(|e| ToolError::Refused(format!("standard input: {e}")))?;
            out.line(format_args!("{}", id(&line)?))?;
            out.flush()?;
        }
    }
    out.flush()?;
    Ok(0)
}

fn id(name: &str) -> Result<String, ToolError> {
    // Without what was written: it may be a password.
    let what = "there is no colon; write USER:PASSWORD";
    let (user, _) = name
        .split_once(':')
        .ok_or_else(|| ToolError::Refused(what.into()))?;
    Ok(format!("{user}:{}", STANDARD.encode(Sha1::digest(name))))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_digest_is_the_one_that_zookeepers_documents_show() {
        let id = super::id("super:admin").unwrap();
        assert_eq!(id, "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=");
        assert!(!super::id("hush").unwrap_err().to_string().contains("hush"));
    }
}
