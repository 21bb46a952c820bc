//! The server as a process: what only the operating system can break.

mod backups;
mod compaction;
mod contradiction;
mod crashes;
mod damage;
mod divergence;
mod emptied;
mod failing_disk;
mod full_disk;
mod hostile;
mod interrupted;
mod names;
mod node;
mod recover;
mod refusals;
mod rejoin;
mod resources;
mod restore;
mod snapshots;
mod stopping;
mod stranger;
mod values;
