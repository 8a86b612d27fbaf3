//! What may never be.

/// A rule that was broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// Two send, or may yet send, to Mux.
    TwoSenders,
    /// Two streams are active.
    TwoStreams,
    /// A pod was made while another one runs.
    TwoPods,
    /// More things of a kind than the search can hold.
    TooMany,
    /// A paid or visible thing was created and status did not say so before.
    CreatedWithoutRecord,
    /// A stream was created although lists show one of ours.
    StreamCreatedBesideOurs,
    /// A stream was created for a service that is over.
    StreamCreatedForEnded,
    /// Live in a session that was live and was ended.
    LiveAgain,
    /// The finalizer went while something of ours was left.
    ReleasedWithSomethingLeft,
    /// A name that was deleted means a second room.
    RoomNameReused,
    /// Status goes on saying that a start may have happened, though the process knows that it did not.
    IntentOfNothing,
    /// A stop waits for the back-off of a failed start.
    StopHeldByStart,
    /// An egress that connects again by itself was stopped.
    RetryingEgressStopped,
    /// The only egress that sends was stopped, and still is wanted.
    WorkingEgressStopped,
    /// Somebody else's egress was stopped.
    ForeignEgressStopped,
    /// Somebody else's egress was taken for ours.
    ForeignEgressAdopted,
    /// OnAir, and Program is not in the room.
    OnAirWithoutProgram,
    /// OnAir, and the egress worker is dead.
    OnAirWithDeadWorker,
    /// OnAir, and the sender is cut off from Mux.
    OnAirWhileCutOff,
    /// OnAir, and mourners see nothing for another reason.
    OnAirInTheDark,
    /// For ever: the worker is dead and no other one sends, or its record is stopped over and over.
    StuckDeadWorker,
    /// For ever: the pod sends to a stream that is gone.
    StuckOldStream,
    /// For ever: an egress that was given up goes on.
    StuckGivenUpEgress,
    /// For ever: a pod on a dead node blocks all else.
    StuckTerminatingPod,
    /// For ever: no egress worker is free, and the pod is not let send although it was asked to.
    StuckPendingVia,
    /// For ever: a failure that is long past keeps the state from being reached.
    StuckOldFailure,
    /// For ever: something else.
    Stuck,
    /// What is wanted is reached, and status or the world goes on changing.
    Unsteady,
}
