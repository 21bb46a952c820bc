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

/// The processor time of all children of this process that have ended, in microseconds.
pub(super) fn ended_children_micros() -> Result<u64, Failure> {
    let stat = fs::read_to_string("/proc/self/stat");
    let stat = stat.context(|| "cannot read /proc/self/stat".into())?;
    let micros = times(&stat).map(|times| micros(times.children, clock_ticks_per_second()));
    micros.ok_or_else(|| Failure::new("/proc/self/stat does not look as Linux has it"))
}

/// Processor time in ticks.
struct Times {
    own: u64,
    /// Of the children that have ended.
    children: u64,
}

fn times(stat: &str) -> Option<Times> {
    // The name of the program comes second, in brackets, and may have spaces in it.
    let (_, behind_the_name) = stat.rsplit_once(')')?;
    // In user mode and in the system: its own, then its children's.
    let mut fields = behind_the_name.split_whitespace().skip(11).map(str::parse::<u64>);
    let mut both = || Some(fields.next()?.ok()? + fields.next()?.ok()?);
    Some(Times { own: both()?, children: both()? })
}

fn micros(ticks: u64, ticks_per_second: u64) -> u64 {
    ticks * 1_000_000 / ticks_per_second.max(1)
}

fn parse(stat: &str, status: &str, ticks_per_second: u64) -> Option<Usage> {
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(Usage {
        cpu_micros: micros(times(stat)?.own, ticks_per_second),
        memory_kib: memory.trim().strip_suffix("kB")?.trim().parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_brackets_in_its_name_is_read_right() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 7 5 20 0 5 0 1 2 3";
        let status = "Name:\ta) b\nVmRSS:\t    2048 kB\nThreads:\t5\n";
        let usage = parse(stat, status, 100).expect("it is right");
        assert_eq!((usage.cpu_micros, usage.memory_kib), (3_000_000, 2048));
        assert_eq!(times(stat).map(|times| times.children), Some(12));
    }

    #[test]
    fn this_process_can_be_looked_at() {
        assert!(of(std::process::id()).expect("Linux").memory_kib > 0);
    }
}
