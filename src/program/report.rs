//! What status says of Program. Pure.

use crate::api::conditions::{ConditionType, Statement, Truth};
use crate::api::status::ProgramStatus;
use crate::api::{MemorialStream, Reason};
use crate::service::control_document;
use crate::service::desired::{Desired, says_farewell, session};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use memorialstream_compositor_protocol::{RefusalReason, Shown};

/// What is to be said of Program.
pub(super) struct Said {
    pub(super) program: Option<Box<ProgramStatus>>,
    pub(super) statement: Statement,
}

/// The newest TAKE.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Take {
    /// The generation that the pod was sent last.
    pub(super) generation: Option<i64>,
    /// When its first frame was at the encoder, and how many milliseconds after the pod received it.
    pub(super) applied: Option<(Timestamp, u64)>,
}

/// What people said of the Program, noted: it goes on when it vanishes from the spec.
pub(super) fn with_words(mut program: Box<ProgramStatus>, whole: &MemorialStream) -> Box<ProgramStatus> {
    program.said.clone_from(&whole.spec.program);
    program.said_in_session = program.said.as_ref().map(|_| session(&whole.spec));
    program
}

/// What is to be said while no compositor runs. That a camera was shown in this session is not forgotten.
pub(super) fn nothing_runs(object: &MemorialStream, wanted: bool) -> Said {
    let statement = if wanted {
        Statement::new(ConditionType::ProgramApplied, false, Reason::NoCompositor, "no compositor runs yet")
    } else {
        Statement::not_requested(ConditionType::ProgramApplied)
    };
    let before = object.status.as_ref().and_then(|status| status.program.as_ref());
    let shown = before.and_then(|program| program.camera_shown_in_session);
    let program =
        ProgramStatus { summary: "none".into(), camera_shown_in_session: shown, ..ProgramStatus::default() };
    let program = with_words(Box::new(program), object);
    let says_something = shown.is_some() || program.said.is_some();
    Said { program: Some(program).filter(|_| says_something), statement }
}

/// What is to be said when the pod has the document. `camera_was_shown`: earlier in this session.
pub(super) fn applied(
    object: &MemorialStream,
    desired: &Desired,
    shown: &Shown,
    camera_was_shown: bool,
    take: &Take,
) -> Said {
    let before = object.status.as_ref().and_then(|status| status.program.clone()).unwrap_or_default();
    let session = session(&object.spec);
    let was_shown = camera_was_shown || !shown.sources.is_empty();
    let program = ProgramStatus {
        observed_generation: take.generation.or(before.observed_generation),
        sources: shown.sources.clone(),
        summary: control_document::summary(shown),
        applied_at: take.applied.map(|(at, _)| Time(at)).or(before.applied_at),
        take_milliseconds: take
            .applied
            .and_then(|(_, milliseconds)| i64::try_from(milliseconds).ok())
            .or(before.take_milliseconds),
        camera_shown_in_session: if was_shown { Some(session) } else { before.camera_shown_in_session },
        ..ProgramStatus::default()
    };
    let program = with_words(Box::new(program), object);
    let asked = object.spec.program.clone().unwrap_or_default().sources.unwrap_or_default();
    let farewell = object.status.as_ref().is_some_and(|status| says_farewell(desired, status));
    let statement = if asked == shown.sources || farewell {
        Statement::new(ConditionType::ProgramApplied, true, Reason::Applied, "")
    } else {
        let shows = if shown.sources.is_empty() { "the slate".into() } else { shown.sources.join(", ") };
        let message = format!("{} sends no picture: Program shows {shows}", asked.join(", "));
        Statement::new(ConditionType::ProgramApplied, false, Reason::SourceMissing, message)
    };
    Said { program: Some(program), statement }
}

/// What is to be said when the pod does not have the document; what Program showed last stands.
pub(super) fn refused(object: &MemorialStream, reason: Reason, message: String) -> Said {
    let program = object.status.as_ref().and_then(|status| status.program.clone());
    let program = program.map(|program| with_words(program, object));
    Said { program, statement: Statement::new(ConditionType::ProgramApplied, Truth::False, reason, message) }
}

/// Why the pod refused.
pub(super) fn reason(refusal: RefusalReason) -> Reason {
    match refusal {
        RefusalReason::Outdated => Reason::Outdated,
        RefusalReason::UnknownCamera => Reason::UnknownCamera,
        RefusalReason::TooManySources => Reason::TooManySources,
        RefusalReason::Malformed => Reason::Malformed,
        RefusalReason::PipelineNotRunning => Reason::PipelineNotRunning,
    }
}
