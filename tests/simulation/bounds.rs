//! What the invariants allow, in milliseconds of virtual time.

use std::time::Duration;

/// How often the invariants are checked while time passes.
pub const STEP: u64 = 250;
/// A playlist whose newest segment is older than this stands still. Mux's segments last 5 s here.
pub const PLAYLIST_STANDS_STILL: Duration = Duration::from_millis(6_500);
/// For this long OnAir may say True while mourners see no Program.
pub const ON_AIR_LIES: u64 = 10_000;
/// The same while a provider does not answer, or did not just before: a pass waits some seconds for it.
pub const ON_AIR_LIES_UNANSWERED: u64 = 15_000;
/// For this long OnAir may say False while mourners see Program.
pub const ON_AIR_DOUBTS: u64 = 15_000;
/// For this long a sender may run for an object that does not want it: the farewell, a stop that hangs, and what
/// follows when it is given up.
pub const UNWANTED_SENDER: u64 = 75_000;
/// For this long a pod may run for an object that does not want it.
pub const UNWANTED_POD: u64 = 90_000;
/// For this long a room may be open for an object that does not want it. Devices that join again get a minute more.
pub const UNWANTED_ROOM: u64 = 150_000;
/// In seconds: of a list that is no older than that, nothing may be missed.
pub const LIST_LAG: u32 = 30;
/// For this long a second thing of a kind may exist when a provider's list lags longer than the grace time.
pub const DUPLICATE: u64 = 30_000;
/// For this long two senders may overlap.
pub const TWO_SENDERS: u64 = 1_000;
/// For this long a sender may outlive an object whose finalizers somebody took away.
pub const OUTLIVES: u64 = 30_000;
/// For this long two pods of one object may run.
pub const TWO_PODS: u64 = 1_000;
/// After a limit or an end for this long the session may not be marked as ended.
pub const END_IS_LATCHED: u64 = 30_000;
/// For this long a stream may take ingest that nobody wants.
pub const OPEN_STREAM: u64 = 90_000;
/// For this long nothing may be on air for an object that wants it, in fair weather.
pub const DARK: u64 = 50_000;
/// For so long a Secret that was read is not read again, and what it said is in use.
pub const SECRETS_ARE_TAKEN_FOR_GRANTED: u64 = 18_000;
/// Within so many passes of an object in fair weather the world equals its manifest. One of which something is still to be
/// stopped is passed every 1.4 s, and what was changed at its stream is seen after ten minutes.
pub const PASSES_UNTIL_STABLE: u64 = 500;
/// And within so long: what was changed at the stream of an object at rest is seen at the second look at the latest, and
/// those are ten minutes apart.
pub const STABLE: u64 = 1_500_000;
/// So many passes of a stable object bring no action, no write and no Event.
pub const QUIET_PASSES: u64 = 200;
/// One object's trouble may delay another's go-live or end by this much: the provider's rate limit.
pub const NEIGHBOUR: u64 = 3_000;
