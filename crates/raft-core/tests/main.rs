//! The tests of the crate, all through its public API, as one program.

mod batches;
mod bounds;
mod cache;
mod cluster;
mod connectivity;
mod dice;
mod faults;
mod fuzz;
mod hostile;
mod leases;
mod member_faults;
mod membership;
mod normal_form;
mod paper;
mod regressions;
mod restore;
mod scenarios;
mod schedules;
mod scripts;
mod snapshots;
mod status;
mod thesis;
mod transfer;
