//! One line on standard error for each step, with the time it took.

use std::time::{Duration, Instant};

/// A step under way.
pub struct Step {
    what: String,
    began: Instant,
}

impl Step {
    /// Begins a step; nothing is printed before it ends.
    pub fn begin(what: impl Into<String>) -> Step {
        Step { what: what.into(), began: Instant::now() }
    }

    /// Begins a step that takes minutes, and says so.
    pub fn begin_long(what: impl Into<String>) -> Step {
        let step = Step::begin(what);
        eprintln!("lab  {} …", step.what);
        step
    }

    /// Prints that the step is done.
    pub fn done(self) {
        eprintln!("{}", line(&self.what, self.began.elapsed()));
    }

    /// Prints at once that the step failed; why comes at the end, when the others beside it are done.
    pub fn failed(&self) {
        eprintln!("{}", line(&format!("{} FAILED", self.what), self.began.elapsed()));
    }
}

fn line(what: &str, took: Duration) -> String {
    format!("lab  {what:<34} {:>7.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_step_and_its_time() {
        let line = line("kube-apiserver ready", Duration::from_millis(3120));
        assert_eq!(line, format!("lab  kube-apiserver ready{}3.1 s", " ".repeat(19)));
    }
}
