//! `zabra-check draw`: a stored trace as a picture; and the four files in which `run` and `zoo` keep a counterexample.

use crate::out::put;
use clap::ValueEnum;
use serde_json::json;
use std::path::Path;
use zabra_check::checker::action::Action;
use zabra_check::checker::bounds;
use zabra_check::checker::diagram::Chart;
use zabra_check::checker::explore::Violation;
use zabra_check::checker::model::Zab;
use zabra_check::checker::trace;

/// How a run is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// A `sequenceDiagram` for Mermaid.
    Mermaid,
    /// A message-sequence chart for any browser.
    Svg,
}

/// Draws a stored trace to standard output. The model has to do what the trace says.
pub(crate) fn draw(path: &Path, format: Format) -> Result<bool, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{shown}: {e}"))?;
    trace::verify(&text).map_err(|(line, what)| format!("{shown}:{line}: {what}"))?;
    let (header, actions) = trace::parse(&text).map_err(|e| format!("{shown}: {e}"))?;
    let title = format!("{}: {} steps", header.config, actions.len());
    let chart = bounds::find(&header.config)
        .and_then(|b| Chart::of(&Zab::new(b), header.initial, &actions, &title))
        .ok_or_else(|| format!("{shown}: no such run"))?;
    match format {
        Format::Mermaid => put(&chart.mermaid()),
        Format::Svg => put(&chart.svg()),
    }
    Ok(true)
}

/// A run as a stored trace: what `replay` and `draw` read.
pub(crate) fn stored(
    model: &Zab,
    initial: usize,
    actions: &[Action],
    about: &str,
) -> Option<String> {
    let mut cluster = model.initial().into_iter().nth(initial)?;
    let header = trace::header(model, &cluster, initial, about);
    let mut text = format!("{}\n", json!(header));
    for (n, action) in actions.iter().enumerate() {
        let (step, _, _) = trace::record(model, &mut cluster, n + 1, *action);
        text.push_str(&format!("{}\n", json!(step)));
    }
    Some(text)
}

/// Writes a counterexample as `NAME.txt`, `.ndjson`, `.mmd` and `.svg`: returns where, without the ending.
pub(crate) fn keep(model: &Zab, found: &Violation, out: &Path) -> Result<String, String> {
    let (initial, actions) = (found.initial, &found.actions);
    let name = model.bounds.name.replace('/', "-");
    let base = out.join(&name);
    let title = format!(
        "{}: broken is \"{}\" after {} steps",
        model.bounds.name,
        found.invariant,
        actions.len()
    );
    let chart = Chart::of(model, initial, actions, &title);
    let trace = stored(
        model,
        initial,
        actions,
        &format!("breaks {}", found.invariant),
    );
    let (Some(chart), Some(trace)) = (chart, trace) else {
        return Err(format!("{name}: no such run"));
    };
    let story = trace::story(model, initial, actions);
    std::fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
    for (ending, text) in [
        ("txt", format!("{title}\n{story}")),
        ("ndjson", trace),
        ("mmd", chart.mermaid()),
        ("svg", chart.svg()),
    ] {
        let path = out.join(format!("{name}.{ending}"));
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(base.display().to_string())
}
