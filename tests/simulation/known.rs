//! What is known to be wrong, by the number of the finding. The mend of a finding removes its entry: from then on the
//! invariant is enforced.

use crate::invariants::{Invariant, Violation};

/// Probes that are allowed to find what they look for.
pub const FINDINGS: &[u32] = &[];

/// Invariants that random schedules and single faults may find broken, and the findings for which they wait.
pub const INVARIANTS: &[(Invariant, &[u32])] = &[];

/// What is enforced of `violations`.
pub fn enforced(violations: &[Violation]) -> Vec<Violation> {
    let known = |violation: &&Violation| !INVARIANTS.iter().any(|(known, _)| *known == violation.invariant);
    violations.iter().filter(known).cloned().collect()
}
