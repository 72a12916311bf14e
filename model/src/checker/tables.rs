//! Tables that README.md of the model shows: written from what the code says, so that they cannot say anything else.

use super::moves::Slip;
use super::zoo;
use alloc::format;
use alloc::string::String;

/// The table of the bug zoo: the switches of the core and its host, then those of the service.
#[must_use]
pub fn of_the_zoo() -> String {
    let head = "| switch | what is wrong | source | caught by | steps |\n|---|---|---|---|---|\n";
    let mut table = String::from(head);
    let row = |name: &str, about: &str, source: &str, (by, steps): (&str, usize)| {
        format!("| `{name}` | {about} | {source} | {by} | {steps} |\n")
    };
    for case in zoo::ALL {
        let name = case.bounds.name.trim_start_matches("zoo/");
        table.push_str(&row(name, case.bounds.about, case.source, case.expected));
    }
    for slip in Slip::ALL {
        let name = format!("{slip:?}");
        table.push_str(&row(&name, slip.about(), slip.source(), slip.expected()));
    }
    table
}
