//! The lab's processes: what one is, how it starts, how it is found again and how it ends.

mod pid_file;
mod proc;
mod ready;
mod specification;
mod table;

pub use proc::{arguments_of, environment_holds, is_contained_in, processes, send_signal};
pub use ready::wait_until;
pub use specification::{Ready, Signal, Specification, Stop};
pub use table::{MARKER, RunningProcess, Table};
