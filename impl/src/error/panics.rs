//! Panics that are not ours: of parsers of other crates, over files that change while the server runs. Every other panic ends the process.

use super::ServerError;
use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

static ENDS: AtomicBool = AtomicBool::new(false);

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
    static HAS_LAST_WORDS: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is caught, and no reason to stop.
#[must_use]
pub fn is_caught() -> bool {
    CAUGHT.get()
}

/// Whether somebody has something to do before the process ends by a panic of this thread.
#[must_use]
pub fn has_last_words() -> bool {
    HAS_LAST_WORDS.get()
}

/// From now on a panic that is not caught ends the process, as in a server's own program: whoever goes on without one of its tasks would lie.
pub fn end_the_process() {
    ENDS.store(true, Ordering::Relaxed);
}

/// What `run` makes of `state`. If it panics, that is reported, `last_words` looks at what is left, and the process ends; in a program that a
/// server is only a part of, the panic goes on.
pub fn or_last_words<S, T>(
    state: &mut S,
    run: impl FnOnce(&mut S) -> T,
    last_words: impl FnOnce(&S),
) -> T {
    HAS_LAST_WORDS.set(true);
    let done = catch_unwind(AssertUnwindSafe(|| run(state)));
    HAS_LAST_WORDS.set(false);
    done.unwrap_or_else(|panic| {
        last_words(state);
        if ENDS.load(Ordering::Relaxed) {
            std::process::exit(i32::from(ServerError::Bug("").exit_code()));
        }
        resume_unwind(panic)
    })
}

/// What `run` returns. It may leave nothing half done that anybody sees afterwards.
///
/// # Errors
/// What a panic in it said.
pub fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    let before = CAUGHT.replace(true);
    let done = catch_unwind(AssertUnwindSafe(run));
    CAUGHT.set(before);
    done.map_err(|panic| said(&*panic))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no word").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_that_is_caught_is_told_and_the_next_one_is_not_caught() {
        assert!(!is_caught());
        assert_eq!(caught(is_caught), Ok(true));
        let number = 7;
        let said = caught(|| -> () { panic!("block {number} is wrong") });
        assert_eq!(said, Err("block 7 is wrong".into()));
        assert!(!is_caught());
    }

    #[test]
    fn a_program_that_a_server_is_a_part_of_hears_of_its_panic() {
        let mut left = None;
        let said = caught(|| or_last_words(&mut 7, |_| panic!("no"), |n| left = Some(*n)));
        assert_eq!((said, left), (Err::<(), _>("no".into()), Some(7)));
    }

    /// The process ends by it, so it is one of its own: this very test, told by its environment where to write.
    #[test]
    fn what_is_left_is_looked_at_before_a_panic_ends_the_process() {
        const NAME: &str =
            "error::panics::tests::what_is_left_is_looked_at_before_a_panic_ends_the_process";
        const VARIABLE: &str = "ZABRA_TEST_LAST_WORDS";
        if let Some(path) = std::env::var_os(VARIABLE) {
            let mut steps = 1;
            end_the_process();
            assert_eq!(or_last_words(&mut steps, |n| *n + 1, |_| ()), 2);
            assert!(!has_last_words());
            let run = |n: &mut u32| -> u32 {
                *n = 7;
                assert!(has_last_words());
                panic!("in the eighth")
            };
            or_last_words(&mut steps, run, |n| {
                std::fs::write(&path, n.to_string()).unwrap();
            });
            unreachable!("the process has ended");
        }
        let words = tempfile::tempdir().unwrap();
        let path = words.path().join("words");
        let done = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(VARIABLE, &path)
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(6), "the exit code of our bugs");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "7");
    }
}
