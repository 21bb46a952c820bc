//! What processes have taken of the machine, as Linux tells it.

use std::fs;

use rustix::param::clock_ticks_per_second;

use crate::failure::{Context, Failure};

/// What one process has taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Processor time since it began, in microseconds, in steps of ten thousand.
    pub(super) cpu_micros: u64,
    /// Memory it has now, in KiB.
    pub(super) memory_kib: u64,
}

/// Looks at a process.
pub(super) fn of(pid: u32) -> Result<Usage, Failure> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).context(|| format!("cannot read {path}"))
    };
    let (stat, status) = (read("stat")?, read("status")?);
    let usage = parse(&stat, &status, clock_ticks_per_second());
    usage.ok_or_else(|| Failure::new(format!("/proc/{pid} does not look as Linux has it")))
}

fn parse(stat: &str, status: &str, ticks_per_second: u64) -> Option<Usage> {
    // The name of the program comes second, in brackets, and may have spaces in it.
    let (_, behind_the_name) = stat.rsplit_once(')')?;
    let mut fields = behind_the_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(Usage {
        cpu_micros: (user + system) * 1_000_000 / ticks_per_second.max(1),
        memory_kib: memory.trim().strip_suffix("kB")?.trim().parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_brackets_in_its_name_is_read_right() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 1 2 3";
        let status = "Name:\ta) b\nVmRSS:\t    2048 kB\nThreads:\t5\n";
        let usage = parse(stat, status, 100).expect("it is right");
        assert_eq!((usage.cpu_micros, usage.memory_kib), (3_000_000, 2048));
    }

    #[test]
    fn this_process_can_be_looked_at() {
        assert!(of(std::process::id()).expect("Linux").memory_kib > 0);
    }
}
