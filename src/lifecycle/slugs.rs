//! Which object holds which slug. The first one keeps it for as long as it exists.

use super::plan::has_finalizer;
use crate::api::MemorialStream;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The holders, slug → UID. What is remembered of slugs that are out of use is a few bytes each.
///
/// The age alone does not decide: Kubernetes counts it in whole seconds, and of two objects of the same second a
/// later one must not take the slug from one that is live. Whoever was given it here keeps it; after a restart the
/// finalizer tells who that was, for only a holder gets one.
#[derive(Clone, Default)]
pub struct Slugs(Arc<Mutex<HashMap<String, String>>>);

impl Slugs {
    /// Who holds the slug of `object`, as `namespace/name`; `None` when that is `object` itself.
    ///
    /// A slug that nobody holds goes to the object among `all` that has our finalizer, else to the oldest.
    pub fn other_holder(&self, object: &MemorialStream, all: &[Arc<MemorialStream>]) -> Option<String> {
        let mut holders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = slug(object)?;
        let rivals = || all.iter().filter(|other| slug(other) == Some(own));
        let given = holders.get(own);
        let holder = rivals()
            .find(|other| given.is_some() && other.metadata.uid.as_ref() == given)
            .or_else(|| rivals().min_by_key(|other| precedence(other)))?;
        holders.insert(own.to_owned(), holder.metadata.uid.clone()?);
        (holder.metadata.uid != object.metadata.uid).then(|| {
            let name = |part: &Option<String>| part.clone().unwrap_or_default();
            format!("{}/{}", name(&holder.metadata.namespace), name(&holder.metadata.name))
        })
    }
}

fn slug(object: &MemorialStream) -> Option<&str> {
    object.spec.slug.as_deref().or(object.metadata.name.as_deref())
}

fn precedence(object: &MemorialStream) -> impl Ord + use<> {
    let created = object.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (!has_finalizer(object), created, object.metadata.uid.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::names::FINALIZER;
    use k8s_openapi::jiff::Timestamp;

    const NOON: &str = "2026-11-24T12:00:00Z";

    fn object(uid: &str, created: &str) -> MemorialStream {
        let mut object = MemorialStream::new(uid, Default::default());
        object.spec.slug = Some("jane".to_owned());
        object.metadata.namespace = Some("default".to_owned());
        object.metadata.uid = Some(uid.to_owned());
        let created: Timestamp = created.parse().expect("a time");
        object.metadata.creation_timestamp = Some(created.into());
        object
    }

    fn accepted(mut object: MemorialStream) -> MemorialStream {
        object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
        object
    }

    fn list(objects: &[&MemorialStream]) -> Vec<Arc<MemorialStream>> {
        objects.iter().map(|&object| Arc::new(object.clone())).collect()
    }

    #[test]
    fn the_oldest_gets_a_slug_that_nobody_holds() {
        let (older, younger) = (object("z", NOON), object("a", "2026-11-24T12:00:01Z"));
        let all = list(&[&younger, &older]);
        let slugs = Slugs::default();
        assert_eq!(slugs.other_holder(&younger, &all), Some("default/z".to_owned()));
        assert_eq!(slugs.other_holder(&older, &all), None);
    }

    #[test]
    fn a_later_object_of_the_same_second_does_not_take_it() {
        let (first, second) = (object("z", NOON), object("a", NOON));
        let slugs = Slugs::default();
        assert_eq!(slugs.other_holder(&first, &list(&[&first])), None);
        let all = list(&[&second, &first]);
        assert_eq!(slugs.other_holder(&second, &all), Some("default/z".to_owned()));
        assert_eq!(slugs.other_holder(&first, &all), None);
    }

    #[test]
    fn a_restarted_operator_knows_the_holder_by_its_finalizer() {
        let (first, second) = (accepted(object("z", NOON)), object("a", NOON));
        let all = list(&[&second, &first]);
        let slugs = Slugs::default();
        assert_eq!(slugs.other_holder(&second, &all), Some("default/z".to_owned()));
        assert_eq!(slugs.other_holder(&first, &all), None);
    }

    #[test]
    fn a_holder_that_is_gone_leaves_the_slug_to_the_next() {
        let (first, second) = (object("z", NOON), object("a", NOON));
        let slugs = Slugs::default();
        assert_eq!(slugs.other_holder(&first, &list(&[&first])), None);
        assert_eq!(slugs.other_holder(&second, &list(&[&second])), None);
    }

    #[test]
    fn a_slug_that_is_not_named_is_the_name() {
        let (mut named, mut unnamed) = (object("named", NOON), object("unnamed", "2026-11-24T12:00:01Z"));
        unnamed.spec.slug = None;
        let slugs = Slugs::default();
        assert_eq!(slugs.other_holder(&unnamed, &list(&[&named, &unnamed])), None);
        named.spec.slug = Some("unnamed".to_owned());
        let slugs = Slugs::default();
        assert_eq!(
            slugs.other_holder(&unnamed, &list(&[&named, &unnamed])),
            Some("default/named".to_owned())
        );
    }
}
