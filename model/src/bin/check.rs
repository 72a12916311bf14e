//! `zabra-check`: explores the model.
use stateright::{Checker, Model};
use zabra_model::checker::{bounds, explore, model::Zab};
fn main() {
    for name in std::env::args().skip(1) {
        let (dfs, name) = match name.strip_prefix("dfs:") {
            Some(n) => (true, n.to_string()),
            None => (false, name),
        };
        let b = bounds::kept(&bounds::named(&name).expect("configuration"));
        let m = Zab::new(b);
        let t = std::time::Instant::now();
        if dfs {
            let c = m.checker().threads(2).spawn_dfs().join();
            println!(
                "{name}: distinct {} generated {} depth {} {:?}",
                c.unique_state_count(),
                c.state_count(),
                c.max_depth(),
                t.elapsed()
            );
            for (n, p) in c.discoveries() {
                println!("  VIOLATED {n} {}", p.into_vec().len());
            }
            for (w, c) in zabra_model::checker::action::WITNESSES
                .iter()
                .zip(&c.model().witnessed)
            {
                print!("{w}={} ", c.load(std::sync::atomic::Ordering::Relaxed));
            }
            println!();
        } else {
            let e = explore::explore(&m, 3_000_000);
            println!(
                "{name}: distinct {} generated {} depth {} complete {} {:?}",
                e.distinct,
                e.generated,
                e.depth,
                e.complete,
                t.elapsed()
            );
            if let Some(v) = e.violation {
                println!(
                    "  {} initial {} in {} steps",
                    v.invariant,
                    v.initial,
                    v.actions.len()
                );
                for (i, a) in v.actions.iter().enumerate() {
                    println!("   {}. {a}", i + 1);
                }
            }
        }
    }
}
