//! What people said while a pass was under way. A pass may take half a minute where a provider is slow, and a GitOps tool
//! takes a word away within seconds: the next pass would never have seen it.

use crate::api::MemorialStream;
use crate::api::status::Said;
use crate::service::said::said;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Words that no status says yet, by UID.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<HashMap<String, Said>>>);

impl Heard {
    /// Takes in a version of an object; each that the watch brings.
    pub fn listen(&self, object: &MemorialStream) {
        let Some(uid) = object.metadata.uid.clone() else { return };
        let words = self.words(object);
        let written = object.status.as_ref().and_then(|status| status.said.as_ref());
        match words.filter(|words| Some(words) != written) {
            Some(words) => drop(self.words_by_uid().insert(uid, words)),
            None => drop(self.words_by_uid().remove(&uid)),
        }
    }

    /// What people have said of an object up to now.
    pub fn words(&self, object: &MemorialStream) -> Option<Said> {
        let heard = object.metadata.uid.as_ref().and_then(|uid| self.words_by_uid().get(uid).cloned());
        let written = || object.status.as_ref().and_then(|status| status.said.clone());
        said(heard.or_else(written), &object.spec)
    }

    /// The object is gone.
    pub fn forget(&self, object: &MemorialStream) {
        if let Some(uid) = &object.metadata.uid {
            self.words_by_uid().remove(uid);
        }
    }

    fn words_by_uid(&self) -> MutexGuard<'_, HashMap<String, Said>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::spec::State;

    fn object(state: Option<State>, written: Option<State>) -> MemorialStream {
        let mut object = MemorialStream::new("jane-doe", Default::default());
        object.metadata.uid = Some("uid".into());
        object.spec.state = state;
        object.status.get_or_insert_default().said =
            written.map(|state| Said { state: Some(state), session: None });
        object
    }

    #[test]
    fn a_word_that_came_and_went_before_status_says_it_is_heard() {
        let heard = Heard::default();
        let state = |object| heard.words(&object).and_then(|said| said.state);
        heard.listen(&object(Some(State::Live), Some(State::Live)));
        heard.listen(&object(Some(State::Ended), Some(State::Live)));
        heard.listen(&object(None, Some(State::Live)));
        assert_eq!(state(object(None, Some(State::Live))), Some(State::Ended));
        heard.listen(&object(None, Some(State::Ended)));
        assert!(heard.words_by_uid().is_empty(), "status says it by now");
        heard.listen(&object(Some(State::Standby), Some(State::Ended)));
        heard.listen(&object(Some(State::Live), Some(State::Ended)));
        assert_eq!(state(object(None, Some(State::Ended))), Some(State::Live), "the last word counts");
        heard.forget(&object(None, None));
        assert_eq!(state(object(None, Some(State::Ended))), Some(State::Ended));
    }
}
