//! The control document: everything that the compositor composites, from the spec. Pure, but for the tokens.

use crate::api::names::{PROGRAM_IDENTITY, camera_identity, room_name, source_identity};
use crate::api::spec::Layout;
use crate::api::{MemorialStream, MemorialStreamStatus};
use crate::providers::Secret;
use crate::providers::livekit::TokenMinter;
use crate::service::credentials::Credentials;
use crate::service::desired::{desired, says_farewell, session};
use crate::service::pod;
use crate::world::Clock;
use k8s_openapi::jiff::Timestamp;
use memorialstream_compositor_protocol as protocol;
use std::collections::BTreeMap;

/// The tokens of one document. They differ each time they are minted, so they are kept apart from what is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Publishes Program.
    pub program: Secret,
    /// Watches one camera each, by the camera's name.
    pub sources: BTreeMap<String, Secret>,
}

/// The room of `object`, as the life-cycle lane names it.
pub fn room(object: &MemorialStream) -> String {
    let epoch = object.status.as_ref().and_then(|status| status.room.as_ref()).map_or(0, |room| room.epoch);
    room_name(object.metadata.uid.as_deref().unwrap_or(""), epoch)
}

/// Mints the tokens that the document needs.
///
/// # Errors
/// The API key or secret cannot sign; the message says why.
pub fn mint(object: &MemorialStream, credentials: &Credentials) -> Result<Tokens, String> {
    let minter = TokenMinter::new(&credentials.livekit);
    let room = room(object);
    let program = minter.program_token(&room, PROGRAM_IDENTITY).map_err(|error| error.to_string())?;
    let sources = object
        .spec
        .cameras
        .iter()
        .map(|camera| {
            let token = minter
                .source_token(&room, &source_identity(&camera.name))
                .map_err(|error| error.to_string())?;
            Ok((camera.name.clone(), token))
        })
        .collect::<Result<_, String>>()?;
    Ok(Tokens { program, sources })
}

/// The document that `object` asks for at `now`, with revision 0.
pub fn document(
    object: &MemorialStream,
    livekit_url: &str,
    tokens: &Tokens,
    now: Timestamp,
) -> protocol::ControlDocument {
    let spec = &object.spec;
    let nothing = MemorialStreamStatus::default();
    let status = object.status.as_ref().unwrap_or(&nothing);
    let asked = spec.program.clone().unwrap_or_default();
    let farewell = says_farewell(&desired(object, now), status);
    let slate = spec.slate.clone().unwrap_or_default();
    let shown = status.program.as_ref().and_then(|program| program.camera_shown_in_session);
    let text = |text: Option<String>, default: &str| text.unwrap_or_else(|| default.to_owned());
    protocol::ControlDocument {
        protocol_version: protocol::PROTOCOL_VERSION,
        generation: u64::try_from(object.metadata.generation.unwrap_or(0)).unwrap_or(0),
        revision: 0,
        session: u64::try_from(session(spec)).unwrap_or(1),
        room: protocol::Room {
            url: livekit_url.to_owned(),
            name: room(object),
            program_token: tokens.program.clone(),
        },
        cameras: spec
            .cameras
            .iter()
            .filter_map(|camera| {
                let token = tokens.sources.get(&camera.name)?.clone();
                Some(protocol::Camera {
                    name: camera.name.clone(),
                    identity: camera_identity(&camera.name),
                    token,
                })
            })
            .collect(),
        program: protocol::Program {
            layout: match asked.layout.unwrap_or_default() {
                Layout::Single => protocol::Layout::Single,
            },
            sources: if farewell { Vec::new() } else { asked.sources.unwrap_or_default() },
            fallback: if farewell { Vec::new() } else { asked.fallback.unwrap_or_default() },
        },
        slate: protocol::Slate {
            before: text(slate.before, "The service will begin shortly"),
            interrupted: text(slate.interrupted, "One moment please"),
            ended: text(slate.ended, "Thank you for being with us"),
            text: if farewell {
                protocol::SlateText::Ended
            } else if shown == Some(session(spec)) {
                protocol::SlateText::Interrupted
            } else {
                protocol::SlateText::Before
            },
        },
        audio: protocol::Audio {
            enabled: !farewell && spec.audio.as_ref().and_then(|audio| audio.enabled).unwrap_or(true),
        },
    }
}

/// What a pod that reads `protocol_version` boots from, as JSON.
///
/// # Errors
/// The tokens cannot be minted.
pub fn boot(
    clock: &dyn Clock,
    object: &MemorialStream,
    credentials: &Credentials,
    protocol_version: u32,
) -> Result<Vec<u8>, String> {
    let tokens = mint(object, credentials)?;
    let control = document(object, &credentials.livekit.url, &tokens, clock.now()).for_pod(protocol_version);
    let boot = protocol::BootDocument { video: pod::video(&object.spec), control };
    serde_json::to_vec(&boot).map_err(|error| error.to_string())
}

/// Whether a pod that boots from `stored` would composite something else than `object` asks for at `now`. Tokens and
/// revisions do not count; what cannot be read does.
pub fn boots_wrong(stored: &[u8], object: &MemorialStream, livekit_url: &str, now: Timestamp) -> bool {
    let Ok(stored) = serde_json::from_slice::<protocol::BootDocument>(stored) else { return true };
    let kept = |name: &String| {
        let camera = stored.control.cameras.iter().find(|camera| camera.name == *name);
        (name.clone(), camera.map_or_else(|| Secret::new(""), |camera| camera.token.clone()))
    };
    let tokens = Tokens {
        program: stored.control.room.program_token.clone(),
        sources: object.spec.cameras.iter().map(|camera| kept(&camera.name)).collect(),
    };
    let asked = protocol::ControlDocument {
        protocol_version: stored.control.protocol_version,
        generation: stored.control.generation,
        revision: stored.control.revision,
        ..document(object, livekit_url, &tokens, now)
    };
    stored.video != pod::video(&object.spec) || stored.control != asked
}

/// What the slate or the cameras on Program are called, for a column.
pub fn summary(shown: &protocol::Shown) -> String {
    match (shown.sources.as_slice(), shown.slate) {
        ([], Some(protocol::SlateText::Before)) => "slate: before".into(),
        ([], Some(protocol::SlateText::Ended)) => "slate: ended".into(),
        ([], _) => "slate: interrupted".into(),
        (sources, _) => sources.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MemorialStreamSpec;
    use crate::api::spec::{Camera, Program};

    #[test]
    fn a_boot_document_is_wrong_when_it_shows_something_else_or_cannot_be_read() {
        let camera = |name: &str| Camera { name: name.into(), display_name: None };
        let spec = MemorialStreamSpec { cameras: vec![camera("lectern")], ..MemorialStreamSpec::default() };
        let object = MemorialStream::new("jane-doe", spec);
        let now = Timestamp::UNIX_EPOCH;
        let tokens =
            Tokens { program: Secret::new("p"), sources: [("lectern".to_owned(), Secret::new("t"))].into() };
        let control = document(&object, "wss://livekit", &tokens, now);
        let boot = protocol::BootDocument { video: pod::video(&object.spec), control };
        let stored = serde_json::to_vec(&boot).unwrap();
        assert!(!boots_wrong(&stored, &object, "wss://livekit", now));
        let mut newer = object.clone();
        newer.metadata.generation = Some(7);
        assert!(!boots_wrong(&stored, &newer, "wss://livekit", now), "nothing of the picture changed");
        assert!(boots_wrong(&stored, &object, "wss://elsewhere", now));
        assert!(boots_wrong(b"{}", &object, "wss://livekit", now));
        newer.spec.cameras.push(camera("wide"));
        assert!(boots_wrong(&stored, &newer, "wss://livekit", now), "a camera more");
        let mut taken = object.clone();
        taken.spec.program = Some(Program { sources: Some(vec!["lectern".into()]), ..Program::default() });
        assert!(boots_wrong(&stored, &taken, "wss://livekit", now), "a TAKE");
    }
}
