//! A program out of its `pom.xml`, by Maven, whose own repository keeps what it has fetched.

use crate::interop::{run_to_end, script};
use crate::programs::which;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// What a machine has to have.
const TOOLS: [&str; 3] = ["java", "javac", "mvn"];
/// What every driver is made with.
const SHARED: [&str; 3] = ["Lab.java", "Child.java", "Writer.java"];

/// The release of the program: the first version in its `pom.xml`, which all others refer to.
pub(super) fn version(folder: &Path) -> Result<String> {
    let pom = folder.join("pom.xml");
    let text = std::fs::read_to_string(&pom).with_context(|| pom.display().to_string())?;
    let version = text
        .split_once("<version>")
        .and_then(|(_, rest)| rest.split_once("</version>"));
    let (version, _) = version.with_context(|| format!("{}: no <version>", pom.display()))?;
    Ok(version.to_owned())
}

/// The driver, compiled into `directory`.
///
/// # Errors
/// A tool is not there, or Maven cannot fetch something.
pub(super) fn command(folder: &Path, directory: &Path) -> Result<Command> {
    for tool in TOOLS {
        ensure!(
            which(tool).is_some(),
            "no {tool} here: install a JDK of version 17 or later, and Maven"
        );
    }
    let list = directory.join("classpath");
    run_to_end(
        Command::new("mvn")
            .args(["--batch-mode", "--quiet", "dependency:build-classpath"])
            .arg("--file")
            .arg(folder.join("pom.xml"))
            .arg(format!("-Dmdep.outputFile={}", list.display())),
    )?;
    let jars = std::fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let classes = directory.join("classes");
    std::fs::create_dir_all(&classes)?;
    run_to_end(
        Command::new("javac")
            .args(["-nowarn", "-cp", jars.trim()])
            .arg("-d")
            .arg(&classes)
            .args(SHARED.map(|file| script("programs").join(file)))
            .arg(folder.join("Work.java")),
    )?;
    let mut java = Command::new("java");
    // Logs go to the standard error, of the driver and of the processes that it starts.
    let programs = script("programs").display().to_string();
    java.arg(format!(
        "-Dlog4j.configuration=file:{programs}/log4j.properties"
    ))
    .arg(format!(
        "-Dlog4j2.configurationFile={programs}/log4j2.properties"
    ))
    .args(["-Xmx384m", "-XX:+UseSerialGC", "-cp"])
    .arg(format!("{}:{}", classes.display(), jars.trim()))
    .arg("Work");
    Ok(java)
}
