//! Who is asked: a cluster that is started, loaded, and gone again.

mod etcd;
mod floor;
mod ours;
mod program;
mod redis;
mod saves;
mod stalls;
mod timeline;
mod witness;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

pub(super) use etcd::Etcd;
pub(super) use floor::Floor;
pub(super) use ours::Ours;
pub(super) use redis::Redis;
use stalls::Stalls;
use timeline::Timeline;

use crate::bench::cluster::shape::Shape;
use crate::bench::cluster::usage::{self, Usage};
use crate::failure::{Context, Failure};

/// Something that keeps keys.
pub(super) trait System {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// What its program says that it is, if it is somebody else's.
    ///
    /// # Errors
    ///
    /// If the program does not say.
    fn version(&self) -> Result<Option<String>, Failure> {
        Ok(None)
    }

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
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) ops_per_s: f64,
    /// Done in the slowest whole second.
    pub(super) slowest_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) max_us: f64,
    /// Processor time of all nodes together, for each request.
    pub(super) cpu_us_per_op: f64,
    /// The same of each node, the busiest first.
    pub(super) cpu_us_per_op_by_node: Vec<f64>,
    /// The same of the load generator.
    pub(super) load_cpu_us_per_op: f64,
    /// Memory of the largest node at the end, in millions of bytes.
    pub(super) largest_mb: f64,
    /// What was measured before, if there was something: the load by itself.
    pub(super) before: Option<Box<Self>>,
    /// The slowest request during each snapshot that was fetched meanwhile; of what was measured
    /// before, in each stretch that lasted as long.
    pub(super) slowest_us: Vec<u64>,
    /// Where requests waited for too long, if that was looked for.
    pub(super) stalls: Option<Stalls>,
    /// Where it went fast, and where slowly.
    pub(super) timeline: Timeline,
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
        let per_op = |micros: f64, done: f64| micros / done.max(1.0);
        let done = figure("done")?;
        Ok(Self {
            ops_per_s: figure("ops_per_s")?,
            slowest_second: figure("slowest_second")?,
            p50_us: figure("p50_us")?,
            p99_us: figure("p99_us")?,
            max_us: figure("max_us")?,
            cpu_us_per_op: per_op(taken.cpu_micros.iter().fold(0.0, |sum, it| sum + it), done),
            cpu_us_per_op_by_node: taken.cpu_micros.iter().map(|it| per_op(*it, done)).collect(),
            load_cpu_us_per_op: per_op(taken.load_micros, done),
            largest_mb: taken.largest_mb,
            before: None,
            slowest_us: Vec::new(),
            stalls: None,
            timeline: Timeline::new(printed),
        })
    }

    /// The slowest request, in medians: of the run before, if there was one.
    pub(super) fn slowest_in_medians(&self) -> f64 {
        let usual = self.before.as_deref().unwrap_or(self);
        self.max_us / usual.p50_us.max(1.0)
    }

    /// The same during each snapshot, or in each stretch that lasted as long.
    pub(super) fn slowest_each_in_medians(&self, usual: &Self) -> impl Iterator<Item = f64> {
        let median = usual.p50_us.max(1.0);
        self.slowest_us.iter().map(move |slowest| figure(*slowest) / median)
    }

    /// The median of each figure by itself; what is told of each snapshot is of all of them.
    pub(super) fn median<'a>(rounds: impl Iterator<Item = &'a Self>) -> Self {
        let rounds: Vec<&Self> = rounds.collect();
        let median =
            |figure: fn(&Self) -> f64| median(rounds.iter().copied().map(figure).collect());
        let nodes = rounds.iter().map(|it| it.cpu_us_per_op_by_node.len()).max().unwrap_or(0);
        let of_node = |nth: usize| {
            let all = rounds.iter().filter_map(|it| it.cpu_us_per_op_by_node.get(nth).copied());
            self::median(all.collect())
        };
        let stalls: Vec<&Stalls> = rounds.iter().filter_map(|it| it.stalls.as_ref()).collect();
        let before: Vec<&Self> = rounds.iter().filter_map(|it| it.before.as_deref()).collect();
        Self {
            ops_per_s: median(|it| it.ops_per_s),
            slowest_second: median(|it| it.slowest_second),
            p50_us: median(|it| it.p50_us),
            p99_us: median(|it| it.p99_us),
            max_us: median(|it| it.max_us),
            cpu_us_per_op: median(|it| it.cpu_us_per_op),
            cpu_us_per_op_by_node: (0..nodes).map(of_node).collect(),
            load_cpu_us_per_op: median(|it| it.load_cpu_us_per_op),
            largest_mb: median(|it| it.largest_mb),
            before: (!before.is_empty()).then(|| Box::new(Self::median(before.into_iter()))),
            slowest_us: rounds.iter().flat_map(|it| it.slowest_us.iter().copied()).collect(),
            stalls: (!stalls.is_empty()).then(|| Stalls::of_all(stalls.into_iter())),
            timeline: Timeline::default(),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "ops_per_s": self.ops_per_s, "slowest_second": self.slowest_second,
            "p50_us": self.p50_us, "p99_us": self.p99_us, "max_us": self.max_us,
            "cpu_us_per_op": self.cpu_us_per_op, "largest_mb": self.largest_mb,
            "cpu_us_per_op_by_node": self.cpu_us_per_op_by_node,
            "load_cpu_us_per_op": self.load_cpu_us_per_op, "slowest_us_each": self.slowest_us,
            "stalls": self.stalls.as_ref().map(Stalls::to_json),
            "before": self.before.as_deref().map(Self::to_json),
        })
    }

    /// Processor time for each request in every process: `9.1+4.2+4.0, load 2.3`.
    pub(super) fn by_process(&self) -> String {
        let nodes = self.cpu_us_per_op_by_node.iter().map(|micros| format!("{micros:.1}"));
        let nodes = nodes.collect::<Vec<_>>().join("+");
        format!("{nodes}, load {:.1}", self.load_cpu_us_per_op)
    }
}

/// The middle one; zero if there is none.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// What was taken of the machine during a run.
struct Taken {
    /// By each node, the busiest first.
    cpu_micros: Vec<f64>,
    load_micros: f64,
    largest_mb: f64,
}

/// Runs `load` to its end, and looks at the processes before and after.
fn loaded(load: &mut Command, pids: &[u32]) -> Result<(String, Taken), Failure> {
    let look = || pids.iter().map(|pid| usage::of(*pid)).collect::<Result<Vec<Usage>, _>>();
    let (before, children) = (look()?, usage::ended_children_micros()?);
    let program = load.get_program().to_string_lossy().into_owned();
    let output = load.stderr(Stdio::inherit()).output();
    let output = output.context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        return Err(Failure::new(format!("{program} ended with {}", output.status)));
    }
    let after = look()?;
    let load_micros = figure(usage::ended_children_micros()? - children);
    let nodes = before.iter().zip(&after);
    let mut cpu_micros: Vec<f64> =
        nodes.map(|(before, after)| figure(after.cpu_micros - before.cpu_micros)).collect();
    cpu_micros.sort_unstable_by(|a, b| b.total_cmp(a));
    let largest_kib = after.iter().map(|usage| usage.memory_kib).max().unwrap_or(0);
    let taken = Taken { cpu_micros, load_micros, largest_mb: figure(largest_kib * 1024) / 1e6 };
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), taken))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn figure(count: u64) -> f64 {
    count as f64
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_told_for_each_process() {
        let printed = json!({
            "errors": 0, "done": 1000, "ops_per_s": 1.0, "slowest_second": 1, "p50_us": 1,
            "p99_us": 1, "max_us": 1,
        });
        let run = |leader: f64| {
            let cpu_micros = vec![leader, 4200.0, 4000.0];
            let taken = Taken { cpu_micros, load_micros: 2300.0, largest_mb: 1.0 };
            Figures::new(&printed, &taken).expect("it is complete")
        };
        let median = Figures::median([run(9100.0), run(80_000.0), run(6000.0)].iter());
        assert_eq!(median.by_process(), "9.1+4.2+4.0, load 2.3");
        assert_eq!(median.to_json()["cpu_us_per_op_by_node"], json!([9.1, 4.2, 4.0]));
        assert!((median.cpu_us_per_op - 17.3).abs() < 1e-9, "the sum of the three");
    }
}
