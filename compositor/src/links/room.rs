//! What a link needs to be in a LiveKit room, and what the signaller tells of its connection.

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstrswebrtc::signaller::Signallable;
use memorialstream_compositor_protocol::Secret;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long LiveKit may take to let a link in.
pub(super) const ADMISSION: Duration = Duration::from_secs(15);

/// A room, and the token that admits to it. The token may be renewed at any time; it is used at the next join.
#[derive(Clone, Debug)]
pub struct Access(Arc<Mutex<Pass>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pass {
    url: String,
    room: String,
    token: Secret,
}

/// What a renewal changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Nothing.
    None,
    /// The token; a running connection needs no other.
    Token,
    /// The room itself; a running connection is in the wrong one.
    Room,
}

impl Access {
    /// Access to the room called `room` at `url` with `token`, which names the room too.
    pub fn new(url: &str, room: &str, token: &Secret) -> Self {
        Self(Arc::new(Mutex::new(Pass::new(url, room, token))))
    }

    /// From the next join on, this is used.
    pub fn renew(&self, url: &str, room: &str, token: &Secret) -> Renewal {
        let next = Pass::new(url, room, token);
        let mut pass = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let renewal = match (pass.url != next.url || pass.room != next.room, pass.token != next.token) {
            (true, _) => Renewal::Room,
            (false, true) => Renewal::Token,
            (false, false) => Renewal::None,
        };
        *pass = next;
        renewal
    }

    /// Gives the signaller of `element` what it needs to join.
    pub(super) fn apply(&self, element: &gst::Element) -> Signallable {
        let pass = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let signaller = element.property::<Signallable>("signaller");
        signaller.set_property("ws-url", &pass.url);
        signaller.set_property("auth-token", pass.token.reveal());
        // Everything stays inside the cluster's network, or goes where LiveKit itself says: no public helper.
        element.set_property("stun-server", None::<String>);
        signaller
    }
}

impl Pass {
    fn new(url: &str, room: &str, token: &Secret) -> Self {
        Self { url: url.to_string(), room: room.to_string(), token: token.clone() }
    }
}

/// The signaller's connection state by name, for instance `published` (see [`SERVER_DISCONNECTED`]).
pub(super) fn connection_state(signaller: &Signallable) -> String {
    let state = signaller.property_value("connection-state");
    glib::EnumValue::from_value(&state).map(|(_, value)| value.nick().to_string()).unwrap_or_default()
}

/// Its state before the server let it in.
pub(super) const SERVER_DISCONNECTED: &str = "server-disconnected";
/// Its state once the server has taken our tracks.
pub(super) const PUBLISHED: &str = "published";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_tells_what_it_changed() {
        let access = Access::new("ws://a", "r", &Secret::new("1"));
        for (url, room, token, expected) in [
            ("ws://a", "r", "1", Renewal::None),
            ("ws://a", "r", "2", Renewal::Token),
            ("ws://b", "r", "2", Renewal::Room),
            ("ws://b", "s", "3", Renewal::Room),
        ] {
            assert_eq!(access.renew(url, room, &Secret::new(token)), expected, "{url} {room} {token}");
        }
    }
}
