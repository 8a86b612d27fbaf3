//! The real clock and real chance.

use crate::providers::Secret;
use crate::world::Clock;
use k8s_openapi::jiff::Timestamp;
use rand::distr::{Alphanumeric, SampleString};

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn jitter(&self) -> f64 {
        rand::random()
    }

    fn unguessable(&self) -> Secret {
        Secret::new(Alphanumeric.sample_string(&mut rand::rng(), 43))
    }
}
