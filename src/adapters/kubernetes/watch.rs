//! Caches of our own over plain watches.
//!
//! kube's shared streams (`reflect_shared` with `ReflectHandle`) are not used: in kube-runtime 5.0 a handle can return
//! `Pending` without a waker when the object left the store within one poll; it is then never polled again, and 256
//! events later the reflector blocks. A lane would go deaf.

use super::stored::{Stored, Unreadable, bounded};
use crate::watchdog::Pulse;
use futures::StreamExt;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// After this long everything is listed anew: an event that was lost is made up for.
pub const RELIST: Duration = Duration::from_secs(300);
/// Objects of one page of a list. An object takes up to 1.5 MiB, for etcd alone bounds labels, finalizers and managedFields,
/// and a page that comes in up to four times its size (measured): this many take 60 MiB, beside the 100 of 10,000
/// objects at rest. To list those takes 1,000 requests.
const PAGE: u32 = 10;
/// The API server ends a watch after so many seconds; kube takes a connection for dead 5 s later.
const WATCH_SECONDS: u32 = 60;

/// How the API server is reached for watches. kube repeats what was answered with 429, 503 or 504 inside of one request, for
/// minutes: a watch would be deaf that long after the API server is back. A watch that breaks is taken up again by itself.
pub fn for_watches(mut config: kube::Config) -> kube::Config {
    config.default_retry = false;
    config
}

/// What is told of the watched objects.
pub enum Told<K: Resource<DynamicType = ()>> {
    /// It changed, and stands so in the cache.
    Changed {
        /// Its name.
        reference: ObjectRef<K>,
        /// As it stood there before.
        before: Option<Arc<K>>,
        /// As it stands there now.
        now: K,
    },
    /// It is not in the cache any more, where it stood so.
    Gone(Arc<K>),
    /// It cannot be read.
    Unreadable(Box<Unreadable>),
}

/// Keeps a cache in step with the API server for ever, and tells of each change once it stands there.
pub async fn keep<K>(
    api: Api<Stored<K>>,
    config: watcher::Config,
    writer: Writer<K>,
    pulse: &Pulse,
    mut tell: impl FnMut(Told<K>),
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    Stored<K>: DeserializeOwned,
{
    let what = K::plural(&()).into_owned();
    let mut cache = Cache::new(writer);
    let config = config.timeout(WATCH_SECONDS).page_size(PAGE);
    loop {
        let mut events = pin!(watcher(api.clone(), config.clone()).default_backoff());
        let mut relist = pin!(tokio::time::sleep(RELIST));
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = &mut relist => break,
            };
            // That a list begins is said before anybody was asked.
            if !matches!(event, Some(Ok(Event::Init))) {
                pulse.beat();
            }
            match event {
                Some(Ok(event)) => cache.take(event, &mut tell),
                Some(Err(error)) => {
                    let error = reason(&error);
                    tracing::warn!(what, error, "the watch broke; it is taken up again");
                }
                None => break,
            }
        }
    }
}

/// Why a watch broke. kube's own words quote whole objects.
fn reason(error: &watcher::Error) -> String {
    use watcher::Error;
    match error {
        Error::InitialListFailed(error) => format!("the list failed: {}", brief(error)),
        Error::WatchStartFailed(error) => format!("the watch did not start: {}", brief(error)),
        Error::WatchFailed(error) => format!("the watch failed: {}", brief(error)),
        Error::WatchError(status) => {
            format!("the API server says {} {}", status.code, bounded(&status.message))
        }
        Error::NoResourceVersion => "an answer without resourceVersion".into(),
    }
}

fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::SerdeError(_) => "an answer that cannot be read".into(),
        other => bounded(&other.to_string()),
    }
}

/// The cache as it is filled.
struct Cache<K: Resource<DynamicType = ()> + Clone + 'static>
where
    K::DynamicType: Hash + Eq,
{
    writer: Writer<K>,
    store: Store<K>,
    /// It was filled once.
    filled: bool,
    /// What the list that is under way has named so far.
    listed: HashSet<ObjectRef<K>>,
}

impl<K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static> Cache<K> {
    fn new(writer: Writer<K>) -> Self {
        let store = writer.as_reader();
        Self { writer, store, filled: false, listed: HashSet::new() }
    }

    /// A later list changes the cache piece by piece: a second copy of everything would double what the process needs.
    fn take(&mut self, event: Event<Stored<K>>, tell: &mut impl FnMut(Told<K>)) {
        match event {
            Event::Init => {
                self.listed.clear();
                if !self.filled {
                    self.writer.apply_watcher_event(&Event::Init);
                }
            }
            Event::InitApply(object) | Event::Apply(object) => self.put(object, tell),
            Event::Delete(object) => {
                let (name, namespace) = (object.name_any(), object.namespace());
                self.remove(reference(&name, namespace.as_deref()), tell);
            }
            Event::InitDone => self.end_of_list(tell),
        }
    }

    fn put(&mut self, object: Stored<K>, tell: &mut impl FnMut(Told<K>)) {
        let (name, namespace) = (object.name_any(), object.namespace());
        let reference = reference(&name, namespace.as_deref());
        let object = match object.read() {
            Ok(object) => object,
            Err(unreadable) => {
                self.remove(reference, tell);
                tell(Told::Unreadable(unreadable));
                return;
            }
        };
        self.listed.insert(reference.clone());
        let mut known = self.store.get(&reference);
        // It was deleted and made again under its name, unseen.
        if let Some(predecessor) = known.take_if(|known| known.uid() != object.uid()) {
            tell(Told::Gone(predecessor));
        }
        if known.as_ref().is_some_and(|known| known.resource_version() == object.resource_version()) {
            return;
        }
        let event = if self.filled { Event::Apply(object.clone()) } else { Event::InitApply(object.clone()) };
        self.writer.apply_watcher_event(&event);
        tell(Told::Changed { reference, before: known, now: object });
    }

    fn remove(&mut self, reference: ObjectRef<K>, tell: &mut impl FnMut(Told<K>)) {
        if let Some(known) = self.store.get(&reference) {
            self.writer.apply_watcher_event(&Event::Delete(known.as_ref().clone()));
            tell(Told::Gone(known));
        }
    }

    fn end_of_list(&mut self, tell: &mut impl FnMut(Told<K>)) {
        let listed = std::mem::take(&mut self.listed);
        if !std::mem::replace(&mut self.filled, true) {
            self.writer.apply_watcher_event(&Event::InitDone);
            return;
        }
        for object in self.store.state() {
            let reference = ObjectRef::from_obj(object.as_ref());
            if !listed.contains(&self::reference(&reference.name, reference.namespace.as_deref())) {
                self.remove(reference, tell);
            }
        }
    }
}

/// Names only: resourceVersion and UID are no part of it.
fn reference<K: Resource<DynamicType = ()>>(name: &str, namespace: Option<&str>) -> ObjectRef<K> {
    let reference = ObjectRef::new(name);
    match namespace {
        Some(namespace) => reference.within(namespace),
        None => reference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MemorialStream;
    use kube::runtime::reflector;
    use serde_json::json;
    use tokio::io::AsyncWriteExt;

    fn stored(name: &str, version: &str, session: serde_json::Value) -> Stored<MemorialStream> {
        let object = json!({
            "apiVersion": "tributestream.com/v1alpha1", "kind": "MemorialStream",
            "metadata": {"name": name, "namespace": "family", "uid": name, "resourceVersion": version},
            "spec": {"session": session},
        });
        serde_json::from_value(object).unwrap()
    }

    /// That a list begins is none, and a refusal is one at once: it is not asked again inside of the same request.
    #[tokio::test]
    async fn every_answer_is_a_sign_of_life_and_nothing_else_is() {
        let _installed_already = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let client = kube::Client::try_from(for_watches(kube::Config::new(url))).unwrap();
        let api: Api<Stored<MemorialStream>> = Api::all(client);
        let pulse = Pulse::default();
        let later = std::time::Instant::now() + Duration::from_secs(60);
        let silent = pulse.silent(later);
        let (_, writer) = reflector::store();
        let mut kept = pin!(keep(api, watcher::Config::default(), writer, &pulse, |_| {}));
        let (mut connection, _) = tokio::select! {
            () = &mut kept => unreachable!("it is kept for ever"),
            accepted = listener.accept() => accepted.unwrap(),
        };
        assert_eq!(pulse.silent(later), silent, "nobody has answered yet");
        let refusal = crate::loopback::http("503 Service Unavailable", "{}");
        connection.write_all(&refusal).await.unwrap();
        let answered = async {
            while pulse.silent(later) == silent {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = &mut kept => unreachable!("it is kept for ever"),
            () = answered => {}
            () = tokio::time::sleep(Duration::from_secs(20)) => panic!("the refusal was kept from us"),
        }
    }

    #[test]
    fn a_page_of_the_largest_objects_fits_the_memory_that_the_chart_gives() {
        let values = include_str!("../../../charts/memorialstream-operator/values.yaml");
        let values: serde_json::Value = serde_yaml::from_str(values).unwrap();
        let limit = values["resources"]["limits"]["memory"].as_str().unwrap();
        let limit: f64 = limit.strip_suffix("Mi").unwrap().parse().unwrap();
        let (objects_at_rest, page) = (100.0, f64::from(PAGE) * 1.5 * 4.0);
        assert!(objects_at_rest + page < 0.8 * limit, "{page} MiB of {limit}");
    }

    #[test]
    fn a_cache_follows_changes_and_makes_up_for_lost_ones_at_the_next_list() {
        let (store, writer) = reflector::store();
        let mut cache: Cache<MemorialStream> = Cache::new(writer);
        let mut told = Vec::new();
        let mut take = |event| {
            cache.take(event, &mut |news| {
                told.push(match news {
                    Told::Changed { before, now, .. } => match before {
                        Some(_) => format!("changed {}", now.name_any()),
                        None => format!("new {}", now.name_any()),
                    },
                    Told::Gone(before) => format!("gone {}", before.name_any()),
                    Told::Unreadable(unreadable) => {
                        format!("unreadable {}", unreadable.metadata.name.unwrap_or_default())
                    }
                });
            });
            std::mem::take(&mut told)
        };
        take(Event::Init);
        assert_eq!(take(Event::InitApply(stored("a", "1", json!(1)))), ["new a"]);
        take(Event::InitApply(stored("b", "1", json!(1))));
        assert_eq!(take(Event::InitApply(stored("c", "1", json!("x")))), ["unreadable c"]);
        take(Event::InitDone);
        assert_eq!(store.len(), 2);
        // The deletion of b and a change of a were lost; c was mended.
        take(Event::Init);
        assert_eq!(take(Event::InitApply(stored("a", "2", json!(2)))), ["changed a"]);
        assert_eq!(take(Event::InitApply(stored("c", "3", json!(1)))), ["new c"]);
        assert_eq!(store.len(), 3, "nothing vanishes while a list is under way");
        assert_eq!(take(Event::InitDone), ["gone b"]);
        // An object that is spoilt leaves the cache, and a list that repeats what is known tells nothing.
        assert_eq!(take(Event::Apply(stored("c", "4", json!("x")))), ["gone c", "unreadable c"]);
        take(Event::Init);
        assert_eq!(take(Event::InitApply(stored("a", "2", json!(2)))), Vec::<String>::new());
        assert_eq!(take(Event::Delete(stored("a", "5", json!(2)))), ["gone a"]);
        assert_eq!(store.len(), 0);
    }
}
