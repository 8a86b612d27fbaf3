//! A deletion that a provider does not let come to its end goes on all the same where a person said so.

use super::{Action, Pass};
use crate::api::names::ABANDON;
use crate::service::abandoned::Abandoned;
use crate::service::credentials::Access;

impl Pass<'_> {
    /// Lets the object go although something of its may be left, and records what: a person asked for it, and nothing else
    /// can be done.
    pub(super) fn abandon(&mut self) {
        let asked = self.object.metadata.annotations.as_ref().and_then(|all| all.get(ABANDON));
        if asked.is_none_or(|asked| asked != "true") || !self.actions.is_empty() {
            return;
        }
        let Some(hindrance) = self.hindrance() else { return };
        let rooms: Vec<String> =
            self.observed.rooms.known().into_iter().flatten().map(|room| room.name.clone()).collect();
        let abandoned = Abandoned::new(
            self.identity,
            &self.observed.cluster_id,
            &self.status,
            &rooms,
            &hindrance,
            self.now,
        );
        self.warn(
            "Abandoned",
            format!(
                "let go as the annotation {ABANDON} asks, though not everything was ended ({hindrance}); ConfigMap \
                 abandoned-{} in the operator's namespace names what may be left",
                self.identity.uid
            ),
        );
        // What failed before is why this is done: nothing that is held against it holds it up.
        self.actions.push(Action::RecordAbandoned(Box::new(abandoned)));
        self.actions.push(Action::RemoveFinalizer);
    }

    /// Why something cannot be ended now.
    fn hindrance(&self) -> Option<String> {
        if let Access::Unusable(problem) = &self.observed.access {
            return Some(problem.message.clone());
        }
        let failed = self.observed.backoffs.iter().find(|(effect, _)| effect.ending);
        let unanswered = self.observed.unanswered().or(self.observed.stream_is_not_ours());
        let unanswered = unanswered.map(|error| error.message.clone());
        unanswered.or_else(|| failed.map(|(_, backoff)| backoff.message.clone()))
    }
}
