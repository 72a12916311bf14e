//! What is handed to people who have no Rust: a binary that runs on any Linux, and Debian's package.

use crate::steps::{announce, cargo, finish};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

const TARGET: &str = "x86_64-unknown-linux-musl";
/// Where cargo puts it.
const BINARY: &str = "target/x86_64-unknown-linux-musl/static/zabra";
/// A larger one is a mistake: of a dependency, or of the profile.
const BYTES_MAX: u64 = 20_000_000;
/// Where what the package carries beside the binary is written.
const EXTRAS: &str = "target/package";
/// The segment that names who loads a program: a static one has none.
const PT_INTERP: u32 = 3;

/// Builds the static binary, and shows that it is one.
pub(crate) fn build_static() -> Result<()> {
    let missing = [
        (!has_target()?, format!("rustup target add {TARGET}")),
        (!has("musl-gcc"), "apt-get install musl-tools".to_owned()),
    ];
    let missing = missing.into_iter().filter(|(is_missing, _)| *is_missing);
    let missing: Vec<String> = missing.map(|(_, how)| format!("`{how}`")).collect();
    ensure!(
        missing.is_empty(),
        "a static binary needs what is not here: {}",
        missing.join(", ")
    );
    let what = "cargo build --profile static -p zabra, for musl";
    let began = announce(what);
    let status = Command::new(env!("CARGO"))
        .args(["build", "--profile", "static", "--locked", "-p", "zabra"])
        .args(["--target", TARGET])
        .env("CC_x86_64_unknown_linux_musl", "musl-gcc")
        .status()?;
    finish(what, began, status.success())?;
    try_static(Path::new(BINARY))
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn has_target() -> Result<bool> {
    let told = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("rustc")?;
    Ok(Path::new(String::from_utf8_lossy(&told.stdout).trim()).is_dir())
}

/// A static binary of the size that is promised, which serves a client.
fn try_static(binary: &Path) -> Result<()> {
    let began = announce("the binary is static, small and serves");
    let bytes = fs::read(binary).with_context(|| binary.display().to_string())?;
    let size = bytes.len() as u64;
    ensure!(
        size < BYTES_MAX,
        "{} has {size} bytes, and at most {BYTES_MAX} are promised",
        binary.display()
    );
    ensure!(
        is_static(&bytes)?,
        "{} wants to be loaded by another program: it is not static",
        binary.display()
    );
    serves(binary)?;
    eprintln!("    {}: {size} bytes", binary.display());
    finish("the binary", began, true)
}

/// Whether no segment of a program for 64 bits names a loader.
fn is_static(program: &[u8]) -> Result<bool> {
    let u16_at = |at: usize| program.get(at..at + 2).and_then(|b| b.try_into().ok());
    let u16_at = |at| u16_at(at).map(u16::from_le_bytes).context("a short file");
    let u32_at = |at: usize| program.get(at..at + 4).and_then(|b| b.try_into().ok());
    let u32_at = |at| u32_at(at).map(u32::from_le_bytes).context("a short file");
    ensure!(
        program.starts_with(b"\x7fELF\x02\x01"),
        "no program for 64 bits"
    );
    let (table, entry, count) = (u32_at(0x20)?, u16_at(0x36)?, u16_at(0x38)?);
    for i in 0..usize::from(count) {
        let at = table as usize + i * usize::from(entry);
        if u32_at(at)? == PT_INTERP {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A server on its own of this binary, its word, and a node that its shell makes.
fn serves(binary: &Path) -> Result<()> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    // Its servers end when the pipes from it do.
    let mut dev = Command::new(binary)
        .args(["dev", "--servers", "1", "--base-port", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut connect = String::new();
    let said = BufReader::new(dev.stdout.take().context("a pipe")?).read_line(&mut connect);
    let tried = said.context("no line").and_then(|_| {
        let server = connect.trim();
        let run = |arguments: &[&str]| -> Result<String> {
            let done = Command::new(binary).args(arguments).output()?;
            ensure!(done.status.success(), "zabra {arguments:?}: {done:?}");
            Ok(String::from_utf8(done.stdout)?)
        };
        let srvr = run(&["word", "srvr", server])?;
        ensure!(srvr.contains("Mode: standalone"), "srvr: {srvr}");
        run(&["shell", "--server", server, "create", "/static", "binary"])?;
        let got = run(&["shell", "--server", server, "get", "/static"])?;
        ensure!(got.trim() == "binary", "get /static: {got}");
        Ok(())
    });
    let _ = dev.kill();
    let _ = dev.wait();
    tried
}

/// Builds a release, writes completions and pages for man with it, and packs them.
pub(crate) fn build_deb() -> Result<()> {
    let knows = Command::new(env!("CARGO"))
        .args(["deb", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !knows.is_ok_and(|status| status.success()) {
        bail!("Debian's package needs what is not here: `cargo install cargo-deb`");
    }
    cargo(&["build", "--release", "--locked", "-p", "zabra"])?;
    extras(Path::new("target/release/zabra"), Path::new(EXTRAS))?;
    cargo(&["deb", "--no-build", "--locked", "-p", "zabra"])
}

/// What the binary tells of itself to shells and to man.
fn extras(binary: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    let man = to.join("man");
    fs::create_dir_all(&man)?;
    let told = |arguments: &[&str]| -> Result<Vec<u8>> {
        let done = Command::new(binary).args(arguments).output()?;
        ensure!(done.status.success(), "zabra {arguments:?}: {done:?}");
        Ok(done.stdout)
    };
    // As each shell looks for them.
    for (shell, name) in [("bash", "zabra"), ("zsh", "_zabra"), ("fish", "zabra.fish")] {
        let folder = to.join(shell);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), told(&["completions", shell])?)?;
    }
    told(&["man", &man.display().to_string()])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_loaded_by_another_is_not_static() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(!is_static(&own).unwrap(), "tests are loaded by ld.so");
        let mut without = own;
        // Its one entry that names a loader becomes an unused one.
        let table = u32::from_le_bytes(without[0x20..0x24].try_into().unwrap()) as usize;
        let count = usize::from(u16::from_le_bytes(without[0x38..0x3a].try_into().unwrap()));
        for i in 0..count {
            let at = table + i * 56;
            if without[at..at + 4] == PT_INTERP.to_le_bytes() {
                without[at..at + 4].copy_from_slice(&[0; 4]);
            }
        }
        assert!(is_static(&without).unwrap());
        assert!(is_static(b"#!/bin/sh").is_err());
    }
}
