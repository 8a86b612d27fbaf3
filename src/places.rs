//! How many passes of one namespace a lane works on at once. Pods and providers that answer slowly hold passes up: those of
//! one tenant must not take all places from the others. Who finds none waits in line, and is woken when one is given back.

use crate::api::MemorialStream;
use kube::runtime::reflector::ObjectRef;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Object = ObjectRef<MemorialStream>;

/// The places of one lane.
pub struct Places {
    of_each: usize,
    wake: Box<dyn Fn(&Object) -> bool + Send + Sync>,
    namespaces: Mutex<HashMap<String, Namespace>>,
}

#[derive(Default)]
struct Namespace {
    taken: usize,
    line: VecDeque<Arc<Object>>,
    /// Who stands in it.
    waiting: HashSet<Arc<Object>>,
}

/// One that is taken; it is given back when this is dropped.
pub struct Place {
    places: Arc<Places>,
    namespace: String,
}

impl Places {
    /// So many for each namespace. `wake` tells the lane whose turn it is, unless that object is gone meanwhile.
    pub fn new(of_each: usize, wake: impl Fn(&Object) -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { of_each, wake: Box::new(wake), namespaces: Mutex::default() })
    }

    /// A place for a pass of `object`, if its namespace has one left; else it waits in line.
    pub fn take(self: &Arc<Self>, object: &Object) -> Option<Place> {
        let name = object.namespace.clone().unwrap_or_default();
        let mut namespaces = self.namespaces();
        let namespace = namespaces.entry(name.clone()).or_default();
        if namespace.taken >= self.of_each {
            // Thousands may wait when the operator starts: only their names are kept, and once.
            let object = Arc::new(ObjectRef::new(&object.name).within(&name));
            if namespace.waiting.insert(Arc::clone(&object)) {
                namespace.line.push_back(object);
            }
            return None;
        }
        namespace.taken += 1;
        // It was woken by something else before its turn.
        namespace.waiting.remove(object);
        Some(Place { places: Arc::clone(self), namespace: name })
    }

    fn give_back(&self, name: &str) {
        if let Some(namespace) = self.namespaces().get_mut(name) {
            namespace.taken -= 1;
        }
    }

    /// Who waits longest, and does so no more.
    fn next(&self, name: &str) -> Option<Arc<Object>> {
        let mut namespaces = self.namespaces();
        let namespace = namespaces.get_mut(name)?;
        let mut next = None;
        while next.is_none()
            && let Some(first) = namespace.line.pop_front()
        {
            next = Some(first).filter(|first| namespace.waiting.remove(first));
        }
        if namespace.taken == 0 && namespace.line.is_empty() {
            namespaces.remove(name);
        }
        next
    }

    fn namespaces(&self) -> MutexGuard<'_, HashMap<String, Namespace>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.give_back(&self.namespace);
        while let Some(next) = self.places.next(&self.namespace) {
            if (self.places.wake)(&next) {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, namespace: &str) -> Object {
        ObjectRef::new(name).within(namespace)
    }

    #[test]
    fn each_namespace_has_places_of_its_own_and_whoever_waits_is_woken_in_turn() {
        let woken: Arc<Mutex<Vec<String>>> = Arc::default();
        let wakes = Arc::clone(&woken);
        let places = Places::new(2, move |object| {
            let exists = object.name != "gone";
            wakes.lock().unwrap().extend(exists.then(|| object.name.clone()));
            exists
        });
        let take = |name, namespace| places.take(&object(name, namespace));
        let mut taken = vec![take("1", "a"), take("2", "a")];
        assert!(taken.iter().all(Option::is_some));
        for name in ["gone", "3", "4", "3"] {
            assert!(take(name, "a").is_none(), "no place is left");
        }
        assert!(take("5", "b").is_some());
        taken.pop();
        assert_eq!(*woken.lock().unwrap(), ["3"]);
        taken.push(take("3", "a"));
        assert!(taken.iter().all(Option::is_some));
        taken.clear();
        assert_eq!(*woken.lock().unwrap(), ["3", "4"]);
        assert!(places.namespaces().is_empty(), "nobody's is remembered");
    }

    /// Else it would be woken while it runs, and whoever stands behind it would sleep beside a free place.
    #[test]
    fn whoever_took_a_place_before_its_turn_waits_no_more() {
        let woken: Arc<Mutex<Vec<String>>> = Arc::default();
        let wakes = Arc::clone(&woken);
        let places = Places::new(2, move |object| {
            wakes.lock().unwrap().push(object.name.clone());
            true
        });
        let take = |name| places.take(&object(name, "a"));
        let [first, second] = [take("1"), take("2")];
        assert!(take("3").is_none() && take("4").is_none());
        drop(first);
        let fourth = take("4");
        assert!(fourth.is_some() && take("3").is_none());
        drop(second);
        assert_eq!(*woken.lock().unwrap(), ["3", "3"]);
    }
}
