//! Bugs that are planted into a copy of the operator, one at a time, to see that its tests catch each of them: such as
//! somebody thought of, and small changes of what decides.

#[cfg(test)]
mod bugs;
#[cfg(test)]
mod copy;
#[cfg(test)]
mod mutants;
#[cfg(test)]
mod run;

#[cfg(test)]
mod tests {
    use super::bugs::{Bug, all, planted};
    use super::copy::{Copy, sources};
    use super::run::{LIMIT, Ran, on_every_core, run};
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    /// Whoever changes a line that a bug replaces is told so here, and says in `bugs` how it is planted now.
    #[test]
    fn each_bug_can_still_be_planted() {
        let bugs = all();
        let names: BTreeSet<_> = bugs.iter().map(|bug| bug.name).collect();
        assert_eq!(names.len(), bugs.len(), "two bugs of one name");
        if let Err(problems) = planted(&sources().unwrap(), &bugs) {
            panic!("{}", problems.join("\n"));
        }
    }

    /// `BUG=…` plants those alone whose name contains it.
    #[test]
    #[ignore = "builds a second operator: make planted"]
    fn every_planted_bug_is_caught() {
        let only = std::env::var("BUG").unwrap_or_default();
        let bugs: Vec<(usize, Bug)> = all().into_iter().enumerate().collect();
        let planted = planted(&sources().unwrap(), &all()).unwrap();
        let copy = Copy::make("planted", planted).unwrap();
        let refused: Vec<&str> = copy.refused.iter().map(|refusal| refusal.words.as_str()).collect();
        assert!(refused.is_empty(), "{}", refused.join("\n"));
        println!("built in {:.0} s", copy.seconds);
        let bugs: Vec<_> = bugs.into_iter().filter(|(_, bug)| bug.name.contains(&only)).collect();
        assert!(!bugs.is_empty(), "no bug of that name");

        let watchers: Vec<_> =
            bugs.iter().map(|(_, bug)| bug.caught_by).collect::<BTreeSet<_>>().into_iter().collect();
        let sound = on_every_core(watchers.len(), |index| run(&copy, watchers[index], &[], LIMIT));
        for (watcher, ran) in watchers.iter().zip(&sound) {
            assert!(matches!(ran, Ran::Passed { .. }), "without a bug {watcher:?} {ran}");
        }
        println!("{} checks pass without a bug", watchers.len());

        let caught = Mutex::new(0);
        let missed = on_every_core(bugs.len(), |index| {
            let (number, bug) = &bugs[index];
            let mut ran = run(&copy, bug.caught_by, &[("PLANTED", number.to_string())], LIMIT);
            let is_caught = ran.is_caught_as(bug.seen_as);
            let finding = bug.finding.map_or_else(String::new, |finding| format!("finding {finding}: "));
            println!("{} {finding}{}: {ran}", if is_caught { "caught" } else { "MISSED" }, bug.name);
            *caught.lock().unwrap() += usize::from(is_caught);
            (!is_caught).then(|| format!("{} by {:?}, which {ran}", bug.name, bug.caught_by))
        });
        println!("{} of {} caught", caught.into_inner().unwrap(), bugs.len());
        let missed: Vec<String> = missed.into_iter().flatten().collect();
        assert!(missed.is_empty(), "not caught:\n{}", missed.join("\n"));
    }
}
