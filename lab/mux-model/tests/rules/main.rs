//! The rules of Mux's live streams.

#[cfg(test)]
mod broadcast;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod lag;
#[cfg(test)]
mod playlist;
#[cfg(test)]
mod rest;
#[cfg(test)]
mod support;
