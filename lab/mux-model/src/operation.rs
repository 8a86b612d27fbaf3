//! What can be asked, and under which address.

use crate::request::Method;
use Operation::*;

/// A call of Mux's REST API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is named as Mux names it")]
pub enum Operation {
    Whoami,
    CreateLiveStream,
    ListLiveStreams,
    GetLiveStream,
    UpdateLiveStream,
    DeleteLiveStream,
    CompleteLiveStream,
    EnableLiveStream,
    DisableLiveStream,
    ResetStreamKey,
    CreatePlaybackId,
    GetPlaybackId,
    DeletePlaybackId,
    FindPlaybackId,
    ListAssets,
    GetAsset,
    DeleteAsset,
}

/// Name, method and path; `{}` stands for an id.
const ROUTES: [(Operation, &str, Method, &str); 17] = [
    (Whoami, "whoami", Method::Get, "/system/v1/whoami"),
    (CreateLiveStream, "create_live_stream", Method::Post, "/video/v1/live-streams"),
    (ListLiveStreams, "list_live_streams", Method::Get, "/video/v1/live-streams"),
    (GetLiveStream, "get_live_stream", Method::Get, "/video/v1/live-streams/{}"),
    (UpdateLiveStream, "update_live_stream", Method::Patch, "/video/v1/live-streams/{}"),
    (DeleteLiveStream, "delete_live_stream", Method::Delete, "/video/v1/live-streams/{}"),
    (CompleteLiveStream, "complete_live_stream", Method::Put, "/video/v1/live-streams/{}/complete"),
    (EnableLiveStream, "enable_live_stream", Method::Put, "/video/v1/live-streams/{}/enable"),
    (DisableLiveStream, "disable_live_stream", Method::Put, "/video/v1/live-streams/{}/disable"),
    (ResetStreamKey, "reset_stream_key", Method::Post, "/video/v1/live-streams/{}/reset-stream-key"),
    (CreatePlaybackId, "create_playback_id", Method::Post, "/video/v1/live-streams/{}/playback-ids"),
    (GetPlaybackId, "get_playback_id", Method::Get, "/video/v1/live-streams/{}/playback-ids/{}"),
    (DeletePlaybackId, "delete_playback_id", Method::Delete, "/video/v1/live-streams/{}/playback-ids/{}"),
    (FindPlaybackId, "find_playback_id", Method::Get, "/video/v1/playback-ids/{}"),
    (ListAssets, "list_assets", Method::Get, "/video/v1/assets"),
    (GetAsset, "get_asset", Method::Get, "/video/v1/assets/{}"),
    (DeleteAsset, "delete_asset", Method::Delete, "/video/v1/assets/{}"),
];

impl Operation {
    /// The call under this method and path, with the ids in the path.
    pub(crate) fn find(method: Method, path: &str) -> Option<(Self, Vec<String>)> {
        ROUTES.iter().filter(|route| route.2 == method).find_map(|(operation, _, _, pattern)| {
            let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
            let mut ids = Vec::new();
            loop {
                match (wanted.next(), given.next()) {
                    (None, None) => return Some((*operation, ids)),
                    (Some("{}"), Some(id)) => ids.push(id.to_owned()),
                    (Some(wanted), Some(given)) if wanted == given => {}
                    _ => return None,
                }
            }
        })
    }

    fn route(self) -> (&'static str, Method, &'static str) {
        // Every operation stands in the table; a test goes through them.
        let found = ROUTES.iter().find(|route| route.0 == self).unwrap_or(&ROUTES[0]);
        (found.1, found.2, found.3)
    }

    /// Its name in faults and counters, such as `create_live_stream`.
    pub fn name(self) -> &'static str {
        self.route().0
    }

    /// How it is called.
    pub fn method(self) -> Method {
        self.route().1
    }

    /// Where; `{}` stands for an id.
    pub fn path(self) -> &'static str {
        self.route().2
    }

    /// The operation of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        ROUTES.iter().find(|route| route.1 == name).map(|route| route.0)
    }

    /// Every name.
    pub fn names() -> Vec<&'static str> {
        ROUTES.iter().map(|route| route.1).collect()
    }

    /// Whether it only looks.
    pub(crate) fn reads(self) -> bool {
        self.method() == Method::Get
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_is_found_under_its_own_address() {
        for (operation, name, method, pattern) in ROUTES {
            let (found, ids) = Operation::find(method, &pattern.replace("{}", "x")).expect(name);
            assert_eq!((found, ids.len()), (operation, pattern.matches("{}").count()));
            assert_eq!(Operation::from_name(name), Some(operation));
            assert_eq!((operation.name(), operation.method(), operation.path()), (name, method, pattern));
        }
    }

    #[test]
    fn other_addresses_are_nothing() {
        for path in ["/", "/video/v1", "/video/v1/live-streams/", "/video/v1/live-streams/a/b/c"] {
            let found = Operation::find(Method::Put, path);
            assert_eq!(found, None, "{path}");
        }
    }
}
