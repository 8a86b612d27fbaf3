//! GStreamer's log, carried over to `tracing` without secrets. It is also the only place where the LiveKit signaller
//! tells two things that have to be known: why the server sent it away, and in which codec a participant publishes.

use crate::redact::redact;
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::glib::object::ObjectType;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

/// The category in which gst-plugin-webrtc 0.15 logs LiveKit's messages as `JoinResponse { … }`,
/// `ParticipantUpdate { … }` and `LeaveRequest { … }`.
const SIGNALLER: &str = "webrtc-livekit-signaller";

type Hear = Arc<dyn Fn(&str) + Send + Sync>;

/// Who listens to which signaller, by address.
static LISTENERS: Mutex<Option<HashMap<usize, Hear>>> = Mutex::new(None);

/// Makes GStreamer log to `tracing`. Without the environment variable `GST_DEBUG`, warnings and errors are logged.
pub fn bridge() {
    static BRIDGED: Once = Once::new();
    BRIDGED.call_once(|| {
        gst::log::remove_default_log_function();
        gst::log::set_active(true);
        if std::env::var_os("GST_DEBUG").is_none() {
            gst::log::set_default_threshold(gst::DebugLevel::Warning);
        }
        let asked = gst::log::get_default_threshold();
        gst::log::set_threshold_for_name(SIGNALLER, gst::DebugLevel::Debug);
        gst::log::add_log_function(move |category, level, _file, _function, _line, object, message| {
            let Some(text) = message.get() else { return };
            if category.name() == SIGNALLER {
                if let Some(object) = object {
                    tell(object.as_ptr() as usize, &text);
                }
                if level > asked {
                    return;
                }
            }
            let object = object.map(ToString::to_string).unwrap_or_default();
            print(level, category.name(), &object, &redact(&text));
        });
    });
}

fn print(level: gst::DebugLevel, category: &str, object: &str, text: &str) {
    match level {
        gst::DebugLevel::Error => tracing::warn!(target: "gstreamer", category, object, "{text}"),
        gst::DebugLevel::Warning => tracing::debug!(target: "gstreamer", category, object, "{text}"),
        _ => tracing::trace!(target: "gstreamer", category, object, "{text}"),
    }
}

/// Listens to one signaller's messages from LiveKit. Dropping it ends that.
#[derive(Debug)]
pub struct Listener {
    address: usize,
}

impl Listener {
    /// Calls `hear` with each message as `signaller` logs it, before the signaller acts on it.
    pub fn new(signaller: &glib::Object, hear: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let address = signaller.as_ptr() as usize;
        listeners().get_or_insert_default().insert(address, Arc::new(hear));
        Self { address }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(listeners) = listeners().as_mut() {
            listeners.remove(&self.address);
        }
    }
}

fn tell(address: usize, text: &str) {
    let hear = listeners().as_ref().and_then(|listeners| listeners.get(&address).cloned());
    if let Some(hear) = hear {
        hear(text);
    }
}

fn listeners() -> MutexGuard<'static, Option<HashMap<usize, Hear>>> {
    LISTENERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why LiveKit sent this participant away, if a message tells it: a name of its `DisconnectReason`, such as
/// `DuplicateIdentity` or `RoomDeleted`.
pub fn leave_reason(message: &str) -> Option<&str> {
    let (_, reason) = message.strip_prefix("Leave:")?.split_once("reason: ")?;
    reason.split([',', ' ', '}']).next()
}

/// The codec of `identity`'s picture, for instance `H264`, if a message tells it.
///
/// What participants choose themselves, names and metadata, cannot pass for it: quotes in it are escaped.
pub fn video_codec<'a>(message: &'a str, identity: &str) -> Option<&'a str> {
    let participant = message.split("ParticipantInfo {").find(|participant| {
        participant
            .split_once(", state:")
            .is_some_and(|(who, _)| who.ends_with(&format!("identity: {identity:?}")))
    })?;
    let (_, codec) = participant.split_once("mime_type: \"video/")?;
    codec.split_once('"').map(|(codec, _)| codec)
}

#[cfg(test)]
mod tests {
    use super::*;

    // As livekit-server 1.13.5 and gst-plugin-webrtc 0.15.4 had it, shortened.
    const UPDATE: &str = r#"Update: ParticipantUpdate { participants: [ParticipantInfo { sid: "PA_a", identity: "camera-wide", state: Active, tracks: [TrackInfo { sid: "TR_b", r#type: Audio, mime_type: "audio/opus", mid: "audio1" }, TrackInfo { sid: "TR_a", r#type: Video, name: "identity: \"camera-x\", state: mime_type: \"video/AV1\"", mime_type: "video/H264", mid: "video0" }], metadata: "" }, ParticipantInfo { sid: "PA_b", identity: "camera-side", state: Active, tracks: [TrackInfo { r#type: Video, mime_type: "video/VP8" }] }, ParticipantInfo { sid: "PA_c", identity: "camera-mute", state: Active, tracks: [] }] }"#;

    #[test]
    fn a_participants_codec_is_heard() {
        for (identity, expected) in [
            ("camera-wide", Some("H264")),
            ("camera-side", Some("VP8")),
            ("camera-mute", None),
            ("camera-x", None),
            ("wide", None),
        ] {
            assert_eq!(video_codec(UPDATE, identity), expected, "{identity}");
        }
    }

    #[test]
    fn a_leave_is_heard_with_its_reason() {
        let leave = "Leave: LeaveRequest { can_reconnect: false, reason: RoomDeleted, action: Disconnect }";
        assert_eq!(leave_reason(leave), Some("RoomDeleted"));
        assert_eq!(
            leave_reason("Leave: LeaveRequest { reason: DuplicateIdentity }"),
            Some("DuplicateIdentity")
        );
        assert_eq!(leave_reason("Update: reason: DuplicateIdentity"), None);
    }
}
