//! The operator's Mux client against the simulator of the running lab, and a real encoder at its ingest.

#[cfg(test)]
mod broadcast;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod live_streams;
#[cfg(test)]
mod support;
