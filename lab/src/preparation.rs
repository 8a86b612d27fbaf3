//! Everything that a lab needs before it can start.

use crate::folders::Cache;
use crate::footage;
use crate::parts::{base, faac, go, lock, node_images, packages};
use crate::progress::Step;
use crate::side_by_side::side_by_side;
use anyhow::{Context, Result, bail};
use std::process::Command;

/// Installs and builds whatever is missing, side by side, and runs `beside` as soon as Debian's packages are there. With
/// everything there it takes well under a second.
///
/// # Errors
/// When packages are missing and this is not root, something cannot be built, or `beside` fails.
pub fn prepare(cache: &Cache, beside: Option<Command>) -> Result<()> {
    let _lock = lock(cache)?;
    // Compiling fills both processors; what waits for the network goes on meanwhile.
    side_by_side(vec![
        Box::new(|| go::parts().iter().try_for_each(|part| part.build_if_missing(cache))),
        Box::new(|| {
            packages::install_missing()?;
            side_by_side(vec![
                Box::new(|| beside.map_or(Ok(()), run_beside)),
                Box::new(|| {
                    base::build_if_missing(cache)?;
                    node_images::build_if_missing(cache)
                }),
                Box::new(|| {
                    faac::build_plugin_if_missing(cache)?;
                    footage::clips(cache).map(|_| ())
                }),
            ])
        }),
    ])
}

/// Its output is shown as it comes.
fn run_beside(mut command: Command) -> Result<()> {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let step = Step::begin_long(&words);
    let status = command.status().with_context(|| format!("run {words}"))?;
    if !status.success() {
        step.failed();
        bail!("`{words}` ended with {status}");
    }
    step.done();
    Ok(())
}
