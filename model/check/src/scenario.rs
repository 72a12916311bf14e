//! `zabra-check scenario`: stories of a modelled cluster, told anew or begun.

use std::path::PathBuf;
use zabra_check::checker::model::Zab;
use zabra_check::checker::scenario::{tell, way_to};

/// States that are looked through for a way.
const STATES_MAX: usize = 3_000_000;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Scenario files; each is told, and compared with what it says.
    files: Vec<PathBuf>,
    /// Rewrite the files with what the model answers.
    #[arg(long)]
    bless: bool,
    /// Instead of files: begin a scenario in this configuration, by the shortest way to a step that says all of --until.
    #[arg(long, requires = "until", conflicts_with = "files")]
    begin: Option<String>,
    /// What the last step says, for example "sends TRUNC"; may be given several times.
    #[arg(long)]
    until: Vec<String>,
}

pub(crate) fn scenario(arguments: &Arguments) -> Result<bool, String> {
    if let Some(name) = &arguments.begin {
        let model = Zab::new(crate::configuration::configuration(name)?);
        let Some(way) = way_to(&model, &arguments.until, STATES_MAX) else {
            eprintln!("no step of {name} says that within {STATES_MAX} states");
            return Ok(false);
        };
        let told = tell(&way).map_err(|m| format!("line {} of the way: {}", m.line, m.what))?;
        println!("{told}");
        return Ok(true);
    }
    if arguments.files.is_empty() {
        return Err("name scenario files, or write --begin CONFIGURATION --until TEXT".into());
    }
    let mut all_hold = true;
    for file in &arguments.files {
        let at = |e: std::io::Error| format!("{}: {e}", file.display());
        let text = std::fs::read_to_string(file).map_err(at)?;
        let told = tell(&text).map_err(|m| format!("{}:{}: {}", file.display(), m.line, m.what))?;
        if told == text {
            println!("{}: as it says", file.display());
        } else if arguments.bless {
            std::fs::write(file, told).map_err(at)?;
            println!(
                "{}: rewritten; review the difference as a change of behaviour",
                file.display()
            );
        } else {
            all_hold = false;
            let line = told
                .lines()
                .zip(text.lines())
                .take_while(|(a, b)| a == b)
                .count();
            println!(
                "{}:{}: the model answers otherwise: {}",
                file.display(),
                line + 1,
                told.lines().nth(line).unwrap_or("(nothing)")
            );
        }
    }
    Ok(all_hold)
}
