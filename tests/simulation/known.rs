//! What is known to be wrong, by the number of the finding. The mend of a finding removes its entry: from then on the
//! invariant is enforced.

use crate::invariants::{Invariant, Violation};

/// Probes that are allowed to find what they look for.
pub const FINDINGS: &[u32] =
    &[1, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 22, 23, 24, 25, 105, 205, 206, 213, 225];

/// Invariants that random schedules and single faults may find broken, and the findings for which they wait. 301: what
/// failed once is told for ever where nothing more of its kind is to be done. 302: an object is released on the word of a
/// list that is older than the room's return.
pub const INVARIANTS: &[(Invariant, &[u32])] = &[
    (Invariant::Dark, &[1, 7, 12, 15, 17, 105]),
    (Invariant::EndIsLatched, &[13]),
    (Invariant::Foreign, &[3, 20, 22]),
    (Invariant::Impatient, &[18]),
    (Invariant::Leak, &[3, 21]),
    (Invariant::Left, &[24]),
    (Invariant::NeedlessStream, &[25]),
    (Invariant::OnAirDoubts, &[1]),
    (Invariant::OnAirLies, &[1, 9]),
    (Invariant::OnePod, &[2]),
    (Invariant::OpenStream, &[10, 13, 14, 16]),
    (Invariant::RoomReused, &[23]),
    (Invariant::TooMany, &[6]),
    (Invariant::Unstable, &[11, 301, 302]),
    (Invariant::UnwantedPod, &[11, 13, 14]),
    (Invariant::UnwantedRoom, &[10, 11, 14, 302]),
    (Invariant::UnwantedSender, &[8, 10, 13, 14]),
];

/// What is enforced of `violations`.
pub fn enforced(violations: &[Violation]) -> Vec<Violation> {
    let known = |violation: &&Violation| !INVARIANTS.iter().any(|(known, _)| *known == violation.invariant);
    violations.iter().filter(known).cloned().collect()
}
