//! The operator's clock and chance.

use crate::dice::{Dice, hash};
use crate::process::Process;
use k8s_openapi::jiff::Timestamp;
use memorialstream_operator::providers::Secret;
use memorialstream_operator::world::Clock;

impl Clock for Process {
    fn now(&self) -> Timestamp {
        self.universe.land().wall_clock()
    }

    /// From the time alone: what one object draws does not change another's luck.
    fn jitter(&self) -> f64 {
        let land = self.universe.land();
        Dice::new(hash(&land.now.to_le_bytes(), land.seed)).fraction()
    }

    fn unguessable(&self) -> Secret {
        let mut land = self.universe.land();
        let serial = land.next_serial();
        Secret::new(format!("bearer-{serial}-of-{}", land.seed))
    }
}
