//! `zabra doctor`: whether this machine is fit for a server, and the server's configuration for this machine.
//!
//! Nothing is changed: a sync is measured in a file that is removed again, a port is taken for a moment, members are greeted. What is
//! found has a code that stays the same over versions, a cause, and what to do.

mod disk;
mod finding;
mod net;
mod system;

use super::arguments::{Output, config_file, given};
use super::error::{CONFIG, FAILED, ToolError};
use super::out::Out;
use crate::config::check;
use crate::config::tell;
use crate::storage::Dirs;
use clap::Args;
use finding::{Finding, Severity};
use std::path::{Path, PathBuf};

/// For which server.
#[derive(Args)]
pub struct DoctorArgs {
    /// The configuration file; without it, the one that ZOOCFGDIR and ZOOCFG name; without that, the machine alone is looked at
    config: Option<PathBuf>,
    /// Print also what is as it should be
    #[arg(short, long)]
    all: bool,
    /// Exit code 1 for warnings, too
    #[arg(long)]
    strict: bool,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// A setting, as behind zabra serve
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    properties: Vec<String>,
}

pub(super) fn run(args: &DoctorArgs) -> Result<u8, ToolError> {
    let clocks = system::Clocks::now();
    let file = match &args.config {
        Some(file) => Some(file.clone()),
        None => config_file(None).ok(),
    };
    let mut findings = Vec::new();
    let mut config = None;
    if let Some(file) = &file {
        let given = given(&args.properties)?;
        let report = tell::report(file, &given)?;
        findings.extend(settings(file, &report));
        config = check::load_with(file, &given).ok();
    }
    let is_refused = file.is_some() && config.is_none();
    findings.extend(system::look(config.as_ref()));
    if let Some(config) = &config {
        let dirs = Dirs::new(&config.data_dir, &config.data_log_dir);
        findings.extend(disk::look(&dirs));
        findings.extend(net::look(config));
    }
    findings.push(clocks.compare());
    // The worst first, each kind in the order in which it was looked at.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let is_fit = errors == 0 && (warnings == 0 || !args.strict);
    print(args, &findings, (errors, warnings), is_fit)?;
    Ok(match (is_refused, is_fit) {
        (true, _) => CONFIG,
        (false, true) => 0,
        (false, false) => FAILED,
    })
}

/// What a check of the configuration says.
fn settings(file: &Path, report: &tell::Report) -> Vec<Finding> {
    let name = file.display();
    let mut findings: Vec<_> = report
        .lines
        .iter()
        .filter(|line| line.state == "unknown" || line.state == "overruled")
        .map(|line| {
            let place = line.line.map_or(String::new(), |number| format!(":{number}"));
            let about = format!("{}{place} {}", line.from, line.key);
            if line.state == "unknown" {
                let remedy = "Correct the key (zabra config explain KEY tells what a key is for), or remove the line.";
                Finding::warning("config-unknown", about, format!("no such key: {}", line.about), remedy)
            } else {
                let what = format!("does not count: {}", line.about);
                Finding::note("config-overruled", about, what, "Remove one of the two.")
            }
        })
        .collect();
    match &report.refusal {
        Some(refusal) => findings.push(Finding::error(
            "config-refused",
            name.to_string(),
            format!("no server starts with it: {refusal}"),
            "Correct it; zabra config check FILE tells what becomes of each line.",
        )),
        None => findings.push(Finding::ok(
            "config",
            name.to_string(),
            "a server starts with it".into(),
        )),
    }
    findings
}

fn print(
    args: &DoctorArgs,
    findings: &[Finding],
    (errors, warnings): (usize, usize),
    is_fit: bool,
) -> Result<(), ToolError> {
    let mut out = Out::new();
    if args.output == Output::Json {
        for finding in findings {
            out.json(finding)?;
        }
        out.json(&serde_json::json!({
            "fit": is_fit, "errors": errors, "warnings": warnings, "looked_at": findings.len(),
        }))?;
        return out.flush();
    }
    let shown = |f: &&Finding| args.all || f.severity > Severity::Ok;
    for finding in findings.iter().filter(shown) {
        let Finding {
            severity,
            code,
            about,
            what,
            remedy,
            ..
        } = finding;
        out.line(format_args!(
            "{:<8} {code}: {about}: {what}",
            severity.word()
        ))?;
        if !remedy.is_empty() {
            out.line(format_args!("         {remedy}"))?;
        }
    }
    let rest = if args.all {
        ""
    } else {
        "; --all prints what is as it should be, too"
    };
    out.line(format_args!(
        "{} things were looked at: {errors} errors, {warnings} warnings{rest}",
        findings.len()
    ))?;
    out.flush()
}
