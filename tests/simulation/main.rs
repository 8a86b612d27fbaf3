//! The whole of both lanes in a deterministic simulation: the real code against models of the API server, the kubelet,
//! the compositor, LiveKit and Mux, on virtual time, from one seed.

#[cfg(test)]
mod at_rest;
#[cfg(test)]
mod bad_days;
#[cfg(test)]
mod beginnings;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod compositor;
#[cfg(test)]
mod coverage;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod days;
#[cfg(test)]
mod dice;
#[cfg(test)]
mod director;
#[cfg(test)]
mod doubts;
#[cfg(test)]
mod enumerate;
#[cfg(test)]
mod environment;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod happy;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod kubelet;
#[cfg(test)]
mod land;
#[cfg(test)]
mod livekit;
#[cfg(test)]
mod livekit_api;
#[cfg(test)]
mod mishaps;
#[cfg(test)]
mod mux;
#[cfg(test)]
mod neighbours;
#[cfg(test)]
mod on_air;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod process;
#[cfg(test)]
mod random;
#[cfg(test)]
mod rarities;
#[cfg(test)]
mod run;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod transitions;
#[cfg(test)]
mod unreadable;
#[cfg(test)]
mod viewer;
#[cfg(test)]
mod witness;

/// Nearly half of a simulation's time went into the C library's allocator.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
