//! How a state was reached, for people.

use super::pass::Fault;
use super::search::{Move, Search};
use super::view::Silent;
use memorialstream_operator::lifecycle::plan::Action;

impl Search {
    /// How a state is reached, and what is done in it.
    pub fn trace(&mut self, to: u32, last: Option<Move>) -> Vec<String> {
        let mut path = Vec::new();
        let mut at = to;
        if let Some(last) = last {
            path.push((at, last));
        }
        while at != 0 {
            let (from, by) = self.parents[at as usize];
            path.push((from, by));
            at = from;
        }
        path.reverse();
        path.into_iter().map(|(from, by)| self.line(from, by)).collect()
    }

    fn line(&mut self, from: u32, by: Move) -> String {
        match by {
            Move::Pass(silent, fault) => {
                let actions = self.planned(from, silent).actions.clone();
                let names: Vec<String> = actions.iter().map(short).collect();
                let silent =
                    if silent == Silent::Nobody { String::new() } else { format!(" {silent:?} silent") };
                let fault = if fault == Fault::Nothing { String::new() } else { format!(" {fault:?}") };
                format!(
                    "pass{silent}{fault}: {}",
                    if names.is_empty() { "-".into() } else { names.join(", ") }
                )
            }
            Move::Deadline(deadline) => {
                format!("{} passes", self.statuses.deadlines[usize::from(deadline)].path)
            }
            Move::World(change) => format!("{change:?}"),
            other => format!("{other:?}"),
        }
    }
}

/// An action's name and whatever it names.
fn short(action: &Action) -> String {
    let text = format!("{action:?}");
    let name = text.split([' ', '(']).next().unwrap_or_default();
    let object = text.split('"').nth(1).filter(|_| !text.starts_with("CreateStream"));
    object.map_or_else(|| name.to_owned(), |object| format!("{name} {object}"))
}
