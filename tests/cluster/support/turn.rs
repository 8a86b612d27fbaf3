//! Which tests run at the same time. Those that wait run side by side, each in a namespace and an environment of Mux of
//! its own, served by one operator as in any cluster. One that measures a picture, or strikes a part that others stand
//! on, runs alone, after all that can run side by side.

use super::operator::Operator;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

/// How many run side by side. What they wait for is mostly time, but each that is Live takes a part of a core.
const PLACES: u32 = 4;

static FREE: Semaphore = Semaphore::const_new(PLACES as usize);
/// How many tests run side by side, or wait for a place.
static BESIDE: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));
/// The operator of all that run side by side.
static SHARED: Mutex<Option<Operator>> = Mutex::new(None);

/// A test's turn.
pub struct Turn {
    alone: bool,
    _places: SemaphorePermit<'static>,
}

impl Turn {
    /// A place beside others.
    pub async fn beside() -> Self {
        BESIDE.send_modify(|count| *count += 1);
        Self { alone: false, _places: places(1).await }
    }

    /// All places. No operator runs.
    pub async fn alone() -> Self {
        let mut beside = BESIDE.subscribe();
        beside.wait_for(|count| *count == 0).await.expect("the count is never dropped");
        Self { alone: true, _places: places(PLACES).await }
    }

    /// Whether nobody else runs.
    pub fn is_alone(&self) -> bool {
        self.alone
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.alone {
            return;
        }
        let mut operator = shared_operator();
        BESIDE.send_modify(|count| *count -= 1);
        if *BESIDE.borrow() == 0 {
            drop(operator.take());
        }
    }
}

/// The operator of all that run side by side, while one does.
pub fn shared_operator() -> MutexGuard<'static, Option<Operator>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn places(count: u32) -> SemaphorePermit<'static> {
    FREE.acquire_many(count).await.expect("nobody closes it")
}
