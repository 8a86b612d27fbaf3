//! A Secret that changes wakes the services that use it, though they rest. It is read now and then: to watch it the operator
//! would need the right to list the Secrets of each namespace.

use super::context::Context;
use crate::api::MemorialStream;
use crate::service::credentials::secret_of;
use crate::world::SecretData;
use kube::runtime::reflector::ObjectRef;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Between two looks at the Secrets.
const LOOK: Duration = Duration::from_secs(15);

/// Namespace and name.
type Place = (String, String);

/// Looks at the Secrets as long as the operator runs.
pub async fn wake_on_rotation(context: &Context) {
    let mut seen: BTreeMap<Place, u64> = BTreeMap::new();
    // The first look is no later than the passes': what changes after them is a change.
    loop {
        let users = users(context);
        seen.retain(|place, _| users.contains_key(place));
        for (place, objects) in users {
            let now = match context.world.secrets.secret(&place.0, &place.1).await {
                Ok(now) => fingerprint(now.as_ref()),
                Err(error) => {
                    tracing::debug!(%error, namespace = place.0, secret = place.1, "not read");
                    continue;
                }
            };
            let changed = seen.get(&place).is_some_and(|before| *before != now);
            if changed {
                objects.into_iter().for_each(|object| context.wake(object));
            }
            seen.insert(place, now);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Changes with the Secret, and holds nothing of it.
fn fingerprint(secret: Option<&SecretData>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let parts =
        secret.map(|data| data.iter().map(|(name, value)| (name, value.reveal())).collect::<Vec<_>>());
    parts.hash(&mut hasher);
    hasher.finish()
}

/// The objects by the Secret that they use.
fn users(context: &Context) -> BTreeMap<Place, Vec<ObjectRef<MemorialStream>>> {
    let mut users: BTreeMap<Place, Vec<_>> = BTreeMap::new();
    for object in context.world.objects.memorial_streams() {
        let (namespace, name) = secret_of(&object, &context.default_secret);
        let place = (namespace.to_owned(), name.to_owned());
        users.entry(place).or_default().push(ObjectRef::from_obj(&*object));
    }
    users
}
