//! One Redis, loaded by its own benchmark: not replicated, its append-only file synced before
//! anything is answered. What it does is less than what we do; it is there as a measure of speed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Figures, Server, System, loaded, program};
use crate::bench::cluster::shape::{Shape, Workload};
use crate::failure::{Context, Failure};
use crate::members::Members;

/// How long it may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests for each second that is measured elsewhere: its benchmark only takes a total.
const TOTAL_PER_SECOND: u64 = 50_000;
const TOTAL_PER_SECOND_ALONE: u64 = 2_000;

/// Redis, with its own benchmark as it is installed.
pub(crate) struct Redis {
    server: PathBuf,
    load: PathBuf,
}

impl Redis {
    /// Finds both programs, unless that of the server is given.
    ///
    /// # Errors
    ///
    /// If there is no such program, or one is not installed.
    pub(crate) fn find(server: Option<&Path>) -> Result<Self, Failure> {
        let server = match server {
            Some(server) => program::named(server)?,
            None => program::installed("redis-server", "redis-server")?,
        };
        Ok(Self { server, load: program::installed("redis-benchmark", "redis-tools")? })
    }

    fn load(&self, port: u16) -> Command {
        let mut load = Command::new(&self.load);
        load.args(["--csv", "-h", "127.0.0.1", "-p"]).arg(port.to_string());
        load
    }
}

/// Waits until it answers.
fn wait(address: SocketAddr) -> Result<(), Failure> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if ping(address).is_ok_and(|answer| answer == *b"+PONG") {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(Failure::new(format!("redis-server did not answer within {PATIENCE:?}")))
}

fn ping(address: SocketAddr) -> io::Result<[u8; 5]> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

impl System for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn version(&self) -> Result<Option<String>, Failure> {
        program::version(&self.server).map(Some)
    }

    fn understands(&self, shape: &Shape) -> bool {
        let is_plain =
            shape.workload != Workload::GetStale && shape.idle == 0 && shape.sequel.is_none();
        is_plain && shape.nodes == 3
    }

    fn run(&self, shape: &Shape, seconds: u64, folder: &Path) -> Result<Figures, Failure> {
        let members = Members::on_free_ports(1)?;
        let Some(member) = members.iter().next() else {
            return Err(Failure::new("there is no free port"));
        };
        let port = member.client.port();
        let mut command = Command::new(&self.server);
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(folder);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        let server = Server::start(&mut command, &folder.join("redis.log"))?;
        wait(member.client)?;
        let is_alone = shape.connections * shape.in_flight == 1;
        let pace = if is_alone { TOTAL_PER_SECOND_ALONE } else { TOTAL_PER_SECOND };
        let total = shape.total.unwrap_or(seconds * pace);
        let mut load = self.load(port);
        load.arg("-t").arg(if shape.workload == Workload::Put { "set" } else { "get" });
        let numbers = [
            ("-n", total),
            ("-c", u64::from(shape.connections)),
            ("-P", u64::from(shape.in_flight)),
            ("-d", shape.value_size as u64),
            ("-r", shape.keys),
        ];
        for (flag, number) in numbers {
            load.arg(flag).arg(number.to_string());
        }
        let (printed, taken) = loaded(&mut load, &[server.pid()])?;
        Figures::new(&parse(&printed, total)?, &taken)
    }
}

/// Its table: requests a second, then the mean, the least, p50, p95, p99 and the greatest latency
/// in milliseconds.
fn parse(printed: &str, total: u64) -> Result<serde_json::Value, Failure> {
    let strange = || format!("redis-benchmark printed something else: {printed}");
    let row =
        printed.lines().find(|line| line.starts_with("\"SET\"") || line.starts_with("\"GET\""));
    let row = row.ok_or_else(|| Failure::new(strange()))?;
    let fields: Result<Vec<f64>, _> =
        row.split(',').skip(1).map(|field| field.trim_matches('"').parse()).collect();
    let fields = fields.context(strange)?;
    let [ops_per_s, _mean, _least, p50, _p95, p99, max] = fields[..] else {
        return Err(Failure::new(strange()));
    };
    Ok(json!({
        "done": total, "errors": 0, "ops_per_s": ops_per_s, "slowest_second": ops_per_s,
        "p50_us": p50 * 1000.0, "p99_us": p99 * 1000.0, "max_us": max * 1000.0,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_redis_is_read() {
        let printed = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\
                       \"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
                       \"SET\",\"5000.00\",\"0.2\",\"0.1\",\"0.175\",\"0.3\",\"0.4\",\"9.5\"\n";
        let figures = parse(printed, 7).expect("as it is");
        assert_eq!((&figures["ops_per_s"], &figures["p50_us"]), (&json!(5000.0), &json!(175.0)));
        assert_eq!((&figures["max_us"], &figures["done"]), (&json!(9500.0), &json!(7)));
        assert!(parse("ERR", 7).is_err());
    }
}
