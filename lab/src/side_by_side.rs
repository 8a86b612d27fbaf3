//! Work that does not wait for each other.

use anyhow::{Result, bail};
use std::panic::resume_unwind;
use std::thread;

/// Something to do that may fail.
pub type Task<'a> = Box<dyn FnOnce() -> Result<()> + Send + 'a>;

/// Runs all tasks at the same time, each to its end: what one has done is kept though another fails.
///
/// # Errors
/// With what each of those that failed says.
pub fn side_by_side(tasks: Vec<Task<'_>>) -> Result<()> {
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let running: Vec<_> = tasks.into_iter().map(|task| scope.spawn(task)).collect();
        running.into_iter().map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let mut failures: Vec<anyhow::Error> = results.into_iter().filter_map(Result::err).collect();
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        count => {
            let words: Vec<String> = failures.iter().map(|failure| format!("{failure:#}")).collect();
            bail!("{count} things failed:\n{}", words.join("\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn tasks_run_at_the_same_time() {
        let barrier = Barrier::new(2);
        let meet = || {
            barrier.wait();
            Ok(())
        };
        side_by_side(vec![Box::new(meet), Box::new(meet)]).expect("both meet");
    }

    #[test]
    fn every_failure_is_told() {
        let fail = |what: &'static str| -> Task<'static> { Box::new(move || bail!(what)) };
        let one = side_by_side(vec![fail("a"), Box::new(|| Ok(()))]).expect_err("one fails");
        assert_eq!(format!("{one:#}"), "a");
        let two = side_by_side(vec![fail("a"), Box::new(|| Ok(())), fail("b")]).expect_err("two fail");
        assert_eq!(format!("{two:#}"), "2 things failed:\na\nb");
    }
}
