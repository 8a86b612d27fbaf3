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
    let shown = &as_declared(object, shown);
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

/// What a pod says that it shows, as far as it can be: cameras that are declared, each once.
fn as_declared(object: &MemorialStream, shown: &Shown) -> Shown {
    let mut sources = Vec::new();
    for name in &shown.sources {
        if object.spec.cameras.iter().any(|camera| camera.name == *name) && !sources.contains(name) {
            sources.push(name.clone());
        }
    }
    Shown { sources, slate: shown.slate }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MemorialStreamSpec;
    use crate::api::spec::{Camera, Program};
    use crate::service::desired::desired;

    #[test]
    fn program_shows_declared_cameras_only_and_each_once() {
        let camera = |name: &str| Camera { name: name.into(), display_name: None };
        let program = Program { sources: Some(vec!["wide".into()]), ..Program::default() };
        let spec = MemorialStreamSpec {
            cameras: vec![camera("lectern"), camera("wide")],
            program: Some(program),
            ..MemorialStreamSpec::default()
        };
        let object = MemorialStream::new("jane", spec);
        let desired = desired(&object, Timestamp::UNIX_EPOCH);
        let claims = |names: &[&str]| {
            let sources = names.iter().map(|name| (*name).to_owned()).collect();
            let said = applied(&object, &desired, &Shown { sources, slate: None }, false, &Take::default());
            (said.program.unwrap(), said.statement)
        };
        let long = "x".repeat(10_000);
        let (program, statement) = claims(&["wide", &long, "wide"]);
        assert_eq!((program.sources.as_slice(), program.summary.as_str()), (&["wide".into()][..], "wide"));
        assert_eq!(statement.reason, Reason::Applied);
        let (program, statement) = claims(&[&long]);
        assert_eq!((program.sources.len(), program.camera_shown_in_session), (0, None));
        assert_eq!(statement.message, "wide sends no picture: Program shows the slate");
    }
}
