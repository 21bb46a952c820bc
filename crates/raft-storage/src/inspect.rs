//! Prints a log for people, record by record. Reads only, and needs no lock.

use std::fmt;
use std::io::{self, Write};

use raft_core::{HardState, Term};

use crate::damage::Damage;
use crate::disk::{Access, Disk};
use crate::error::{IoError, OpenError};
use crate::meta::{FILE, Meta};
use crate::record::{EntryMeta, Header};
use crate::recovery::{Collector, Recovered};
use crate::sector::Place;
use crate::segment::{Found, SegmentHeader, SegmentReader, file_name};
use crate::walk::{Visitor, Walked, examine, segment_numbers};

/// Prints the log in `disk` to `out`: one line a record, the damage if there is any with what can
/// still be read behind it, and a summary. Returns what opening the log would report.
///
/// # Errors
///
/// If there is no log, if it cannot be read, or if `out` refuses.
pub fn inspect<D: Disk>(disk: &D, out: &mut dyn Write) -> Result<Recovered, InspectError> {
    let meta = Meta::read(disk)?.ok_or_else(|| InspectError::NoLog { file: disk.path(FILE) })?;
    writeln!(
        out,
        "log of node {} in cluster {:016x}, founded as '{}'",
        meta.identity.node, meta.identity.cluster, meta.description
    )?;
    let mut printer = Printer { collector: Collector::default(), out, records: 0, failed: None };
    let (walked, said) = examine(disk, &meta, &mut printer)?;
    let Printer { collector, records, failed, .. } = printer;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let recovered = collector.recovered(disk, &walked, said);
    if let Some(torn) = &recovered.torn {
        writeln!(
            out,
            "{:>10}  a write that was cut short, {} bytes of room; nobody was told of it",
            torn.offset_bytes, torn.length_bytes
        )?;
    }
    if let Some(damage) = &recovered.damage {
        writeln!(out, "DAMAGE: {damage}")?;
        print_stranded(disk, &meta, &walked, out)?;
    }
    print_summary(&recovered, records, out)?;
    Ok(recovered)
}

/// Why a log could not be printed.
#[derive(Debug)]
pub enum InspectError {
    /// There is no log there.
    NoLog {
        /// The file that every log has.
        file: String,
    },
    /// It cannot be opened.
    Open(OpenError),
    /// The output refused.
    Output(io::Error),
}

impl From<OpenError> for InspectError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<IoError> for InspectError {
    fn from(error: IoError) -> Self {
        Self::Open(error.into())
    }
}

impl From<io::Error> for InspectError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl fmt::Display for InspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLog { file } => {
                write!(f, "there is no log: {file} does not exist; name the directory of a log")
            }
            Self::Open(error) => error.fmt(f),
            Self::Output(error) => write!(f, "cannot print the log: {error}"),
        }
    }
}

impl std::error::Error for InspectError {}

struct Printer<'o> {
    collector: Collector,
    out: &'o mut dyn Write,
    records: u64,
    failed: Option<io::Error>,
}

impl Printer<'_> {
    /// Keeps the first error; the walk is not interested.
    fn note(&mut self, printed: io::Result<()>) {
        if let Err(error) = printed {
            self.failed.get_or_insert(error);
        }
    }
}

impl Visitor for Printer<'_> {
    fn segment(&mut self, header: &SegmentHeader) {
        let printed = print_segment(header, self.out);
        self.note(printed);
        self.collector.segment(header);
    }

    fn record(
        &mut self,
        place: Place,
        header: &Header,
        metas: &[EntryMeta],
    ) -> Result<(), &'static str> {
        self.collector.record(place, header, metas)?;
        self.records += 1;
        let printed = print_record(place, header, "", self.out);
        self.note(printed);
        Ok(())
    }
}

fn print_segment(header: &SegmentHeader, out: &mut dyn Write) -> io::Result<()> {
    let size_bytes = Place::new(0, header.sectors).offset_bytes();
    writeln!(
        out,
        "\n{}: {size_bytes} bytes, begun after record {} and entry {}",
        file_name(header.number),
        header.tip.sequence,
        header.tip.last
    )?;
    writeln!(
        out,
        "{:>10}  {:>8}  {:>8}  {:>17}  {:>6}  {:>6}  {:>6}  {:>8}  {:>7}",
        "byte", "record", "durable", "entries", "terms", "term", "vote", "commit", "bytes"
    )
}

fn print_record(
    place: Place,
    header: &Header,
    remark: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (first, last) = (header.prev.index.next(), header.last());
    let entries = match header.entries {
        0 => "-".to_owned(),
        1 => first.to_string(),
        _ => format!("{first}-{}", last.index),
    };
    let HardState { term, vote, recovering, .. } = header.hard_state;
    let recovering = if recovering { "  recovering" } else { "" };
    let anew = format!("  log begins anew after {}", header.prev);
    let reset = if header.is_reset { &anew } else { "" };
    writeln!(
        out,
        "{:>10}  {:>8}  {:>8}  {entries:>17}  {:>6}  {:>6}  {:>6}  {:>8}  {:>7}{recovering}{reset}\
         {remark}",
        place.offset_bytes(),
        header.sequence,
        header.durable,
        terms(header.prev.term, last.term),
        term.get(),
        vote.map_or_else(|| "-".to_owned(), |node| node.to_string()),
        header.commit.get(),
        header.payload_bytes,
    )
}

fn terms(before: Term, last: Term) -> String {
    if before == last { last.to_string() } else { format!("{before}>{last}") }
}

/// Prints the whole records behind the damage: they prove what had been durable.
fn print_stranded<D: Disk>(
    disk: &D,
    meta: &Meta,
    walked: &Walked,
    out: &mut dyn Write,
) -> Result<(), InspectError> {
    let names = disk.list().map_err(|error| OpenError::io("read", &disk.directory(), error))?;
    let mut payload = Vec::new();
    for number in segment_numbers(&names, meta.first_segment.max(walked.end.segment)) {
        let failed = |error| OpenError::io("read", &disk.path(&file_name(number)), error);
        let mut reader = SegmentReader::open(disk, meta, number, Access::Read).map_err(failed)?;
        let is_last = number == walked.end.segment;
        let mut at = if is_last { walked.end.sector.max(1) } else { 1 };
        while at < reader.sectors {
            let found = reader.record(at, &mut payload).map_err(failed)?;
            at += match found {
                Found::Record { header, sectors, .. } => {
                    let remark = format!("  intact, behind the damage, {}", file_name(number));
                    print_record(Place::new(number, at), &header, &remark, out)?;
                    sectors
                }
                Found::Nothing | Found::Torn | Found::Bad(..) => 1,
            };
        }
    }
    Ok(())
}

fn print_summary(recovered: &Recovered, records: u64, out: &mut dyn Write) -> io::Result<()> {
    let Recovered { start, last, hard_state, commit, .. } = recovered;
    let entries = last.index.since(start.index);
    let vote = hard_state.vote.map_or_else(|| "no vote".to_owned(), |node| format!("vote {node}"));
    let recovering = if hard_state.recovering { ", recovering from damage" } else { "" };
    let verdict = match &recovered.damage {
        None => "sound".to_owned(),
        Some(Damage { .. }) => "DAMAGED; the figures are those before the damage".to_owned(),
    };
    writeln!(
        out,
        "\n{}, {} after {start} up to {last} (term/index), term {}, {vote}, {}, commit \
         {commit}{recovering}: {verdict}",
        counted(records, "record", "records"),
        counted(entries, "entry", "entries"),
        hard_state.term,
        counted(hard_state.boots, "start", "starts"),
    )
}

/// So many of something: "1 entry", "2 entries".
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
