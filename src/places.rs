//! How many passes of one namespace a lane works on at once. Pods and providers that answer slowly hold passes up: those of
//! one tenant must not take all places from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of one lane.
pub struct Places {
    of_each: usize,
    taken: Mutex<HashMap<String, usize>>,
}

/// One that is taken; it is given back when this is dropped.
pub struct Place {
    places: Arc<Places>,
    namespace: String,
}

impl Places {
    /// So many for each namespace.
    pub fn new(of_each: usize) -> Arc<Self> {
        Arc::new(Self { of_each, taken: Mutex::default() })
    }

    /// A place, if the namespace has one left.
    pub fn take(self: &Arc<Self>, namespace: &str) -> Option<Place> {
        let mut taken = self.taken();
        let count = taken.entry(namespace.to_owned()).or_default();
        if *count >= self.of_each {
            return None;
        }
        *count += 1;
        Some(Place { places: Arc::clone(self), namespace: namespace.to_owned() })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.namespace) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_namespace_has_places_of_its_own_and_gives_them_back() {
        let places = Places::new(2);
        let taken = [places.take("a"), places.take("a"), places.take("b")];
        assert!(taken.iter().all(Option::is_some));
        assert!(places.take("a").is_none() && places.take("b").is_some());
        drop(taken);
        assert!(places.take("a").is_some());
        assert!(places.taken().is_empty(), "nobody's is remembered");
    }
}
