//! Everything that needs the lab: a real API server and node, real LiveKit, and the Mux simulator. `make test` starts
//! one lab for all of it.

#[cfg(test)]
mod absence;
#[cfg(test)]
mod admission;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod gitops;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod life_cycle;
#[cfg(test)]
mod namespace;
#[cfg(test)]
mod opt_in;
#[cfg(test)]
mod pictures;
#[cfg(test)]
mod support;
#[cfg(test)]
mod truth;
#[cfg(test)]
mod unreadable;
#[cfg(test)]
mod worker;
