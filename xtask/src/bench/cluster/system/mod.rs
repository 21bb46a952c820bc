//! Who is asked: a cluster that is started, loaded, and gone again.

mod etcd;
mod ours;
mod redis;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

pub(super) use etcd::Etcd;
pub(super) use ours::Ours;
pub(super) use redis::Redis;

use crate::bench::cluster::shape::Shape;
use crate::bench::cluster::usage::{self, Usage};
use crate::failure::{Context, Failure};

/// Something that keeps keys.
pub(super) trait System {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Whether it can be asked in this shape.
    fn understands(&self, shape: &Shape) -> bool;

    /// Starts fresh nodes in `folder`, puts the load on them, and stops them.
    ///
    /// # Errors
    ///
    /// If they do not start, or a request was not done.
    fn run(&self, shape: &Shape, seconds: u64, folder: &Path) -> Result<Figures, Failure>;
}

/// What came of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) ops_per_s: f64,
    /// Done in the slowest whole second.
    pub(super) slowest_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) max_us: f64,
    /// Processor time of all nodes together, for each request.
    pub(super) cpu_us_per_op: f64,
    /// Memory of the largest node at the end, in millions of bytes.
    pub(super) largest_mb: f64,
}

impl Figures {
    /// What a load generator printed, with what the nodes took meanwhile.
    fn new(printed: &Value, taken: &Taken) -> Result<Self, Failure> {
        let figure = |name: &str| {
            let figure = printed[name].as_f64();
            figure.ok_or_else(|| Failure::new(format!("the load printed no {name}: {printed}")))
        };
        if figure("errors")? > 0.0 {
            return Err(Failure::new(format!("not every request was done: {printed}")));
        }
        Ok(Self {
            ops_per_s: figure("ops_per_s")?,
            slowest_second: figure("slowest_second")?,
            p50_us: figure("p50_us")?,
            p99_us: figure("p99_us")?,
            max_us: figure("max_us")?,
            cpu_us_per_op: taken.cpu_micros / figure("done")?.max(1.0),
            largest_mb: taken.largest_mb,
        })
    }

    /// The median of each figure by itself.
    pub(super) fn median(rounds: &[Self]) -> Self {
        let median = |figure: fn(&Self) -> f64| {
            let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
            figures.sort_unstable_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied().unwrap_or_default()
        };
        Self {
            ops_per_s: median(|it| it.ops_per_s),
            slowest_second: median(|it| it.slowest_second),
            p50_us: median(|it| it.p50_us),
            p99_us: median(|it| it.p99_us),
            max_us: median(|it| it.max_us),
            cpu_us_per_op: median(|it| it.cpu_us_per_op),
            largest_mb: median(|it| it.largest_mb),
        }
    }

    pub(super) fn to_json(self) -> Value {
        json!({
            "ops_per_s": self.ops_per_s, "slowest_second": self.slowest_second,
            "p50_us": self.p50_us, "p99_us": self.p99_us, "max_us": self.max_us,
            "cpu_us_per_op": self.cpu_us_per_op, "largest_mb": self.largest_mb,
        })
    }
}

/// What all nodes took during a run.
struct Taken {
    cpu_micros: f64,
    largest_mb: f64,
}

/// Runs `load` to its end, and looks at the processes before and after.
fn loaded(load: &mut Command, pids: &[u32]) -> Result<(String, Taken), Failure> {
    let look = || pids.iter().map(|pid| usage::of(*pid)).collect::<Result<Vec<Usage>, _>>();
    let before = look()?;
    let program = load.get_program().to_string_lossy().into_owned();
    let output = load.stderr(Stdio::inherit()).output();
    let output = output.context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        return Err(Failure::new(format!("{program} ended with {}", output.status)));
    }
    let after = look()?;
    let cpu: u64 = before.iter().zip(&after).map(|(a, b)| b.cpu_micros - a.cpu_micros).sum();
    let largest_kib = after.iter().map(|usage| usage.memory_kib).max().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let taken = Taken { cpu_micros: cpu as f64, largest_mb: (largest_kib * 1024) as f64 / 1e6 };
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), taken))
}

/// A server of somebody else; it ends with this.
struct Server(Child);

impl Server {
    /// Starts it, with what it prints in `log`.
    fn start(command: &mut Command, log: &Path) -> Result<Self, Failure> {
        let program = command.get_program().to_string_lossy().into_owned();
        let file = std::fs::File::create(log);
        let file = file.context(|| format!("cannot write {}", log.display()))?;
        let twin = file.try_clone().context(|| format!("cannot write {}", log.display()))?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(twin).spawn();
        Ok(Self(child.context(|| format!("cannot run {program}"))?))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it cannot be killed it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a program is installed.
fn installed(program: &str, package: &str) -> Result<PathBuf, Failure> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(program));
    found.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Failure::new(format!(
            "{program} is not installed: install Debian's package {package}, or put it on the PATH"
        ))
    })
}
