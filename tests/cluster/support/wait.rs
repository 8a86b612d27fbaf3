//! Waiting for conditions.

use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine. It bounds a failing test; a passing one never waits for it.
pub const TIMEOUT: Duration = Duration::from_secs(240);
const PAUSE: Duration = Duration::from_millis(200);

/// Looks until `look` finds something, or panics with `what` and what was seen last.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if began.elapsed() > TIMEOUT => {
                panic!("after {} s still not: {what}; last seen: {seen}", TIMEOUT.as_secs())
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// `Ok` when it holds, else what was seen.
pub fn holds(condition: bool, seen: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(seen()) }
}
