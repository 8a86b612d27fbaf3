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

/// What the pod boots from, as JSON.
///
/// # Errors
/// The tokens cannot be minted.
pub fn boot(
    clock: &dyn Clock,
    object: &MemorialStream,
    credentials: &Credentials,
) -> Result<Vec<u8>, String> {
    let tokens = mint(object, credentials)?;
    let control = document(object, &credentials.livekit.url, &tokens, clock.now());
    let boot = protocol::BootDocument { video: pod::video(&object.spec), control };
    serde_json::to_vec(&boot).map_err(|error| error.to_string())
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
