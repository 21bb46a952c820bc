//! Carries commands out, one after the other, over one client.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

use kv_client::kv_proto::limits::MAX_FRAME_BYTES;
use kv_client::kv_proto::{Compact, Consistency, ExitCode, Range, Revision};
use kv_client::{BackupOptions, Client, Options};

use crate::args::{Args, Format};
use crate::bench;
use crate::command::{Action, CompactArgs, SnapshotAction};
use crate::failure::Failure;
use crate::output;
use crate::save;
use crate::status;
use crate::words;

/// Whether standard input is there for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nobody reads it yet.
    Free,
    /// Commands are being read from it.
    Taken,
}

/// A client, and how to show what it says.
pub(crate) struct Session {
    client: Client,
    format: Format,
}

impl Session {
    /// Connects nothing yet.
    pub(crate) fn new(args: &Args) -> Result<Self, Failure> {
        let options = Options { timeout: args.timeout };
        Ok(Self { client: Client::new(args.endpoints()?, options)?, format: args.output })
    }

    /// Carries out one command and prints what came of it.
    pub(crate) fn run(&mut self, action: Action, input: Input) -> Result<ExitCode, Failure> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        match action {
            Action::Get { key } => self.get(key.as_bytes(), &mut out),
            Action::Put { key, value } if value == "-" => {
                self.put(key.as_bytes(), &read_value(input)?, &mut out)
            }
            Action::Put { key, value } => self.put(key.as_bytes(), value.as_bytes(), &mut out),
            Action::Delete { key } => self.delete(key.as_bytes(), &mut out),
            Action::List { prefix } => self.list(prefix.as_bytes(), &mut out),
            Action::Status => {
                let cluster = self.client.cluster_status()?;
                written(status::print(&mut out, self.format, &cluster))
            }
            Action::Compact(args) => self.compact(args, &mut out),
            Action::Snapshot { action: SnapshotAction::Save { file, force, stale } } => {
                let consistency = if stale { Consistency::Stale } else { Consistency::default() };
                let wish = save::Wish { file, force, options: BackupOptions { consistency } };
                save::run(&self.client, &wish, self.format, &mut out)
            }
            Action::Bench(args) => bench::run(&args, &mut self.client, self.format, &mut out),
            Action::Quit => Ok(()),
        }?;
        written(out.flush())?;
        Ok(ExitCode::Done)
    }

    fn get(&mut self, key: &[u8], out: &mut impl Write) -> Result<(), Failure> {
        let answer = self.client.get(key)?;
        let found = answer.reply.as_slice();
        if self.format == Format::Json {
            let mut list = output::JsonList::begin(out, answer.header.revision, found.len() as u64);
            written(list.add(found).and_then(|()| list.end()))?;
            // Before what is said on standard error.
            written(out.flush())?;
        }
        match (found, self.format) {
            ([], _) => Err(Failure::NotFound),
            ([pair, ..], Format::Text) => written(output::line(out, &pair.value)),
            (_, Format::Json) => Ok(()),
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8], out: &mut impl Write) -> Result<(), Failure> {
        let answer = self.client.put(key, value)?;
        written(match self.format {
            Format::Text => output::line(out, b"ok"),
            Format::Json => output::changed(out, answer.header.revision, 0),
        })
    }

    fn delete(&mut self, key: &[u8], out: &mut impl Write) -> Result<(), Failure> {
        let answer = self.client.delete(key)?;
        let deleted = answer.reply.deleted;
        written(match self.format {
            Format::Text => output::line(out, deleted.to_string().as_bytes()),
            Format::Json => output::changed(out, answer.header.revision, deleted),
        })
    }

    fn compact(&mut self, args: CompactArgs, out: &mut impl Write) -> Result<(), Failure> {
        let compact = match (args.revision, args.keep) {
            (Some(revision), _) => Compact::Revision(Revision::new(revision)),
            (None, Some(keep)) => Compact::Keep(keep),
            (None, None) => return Err(Failure::Usage("give --revision or --keep".into())),
        };
        let mut answer = self.client.compact(compact)?;
        let compacted = answer.reply.compacted;
        // Each command forgets only so much, so that nobody else has to wait for long.
        let mut before = u64::MAX;
        while (1..before).contains(&answer.reply.overdue) {
            before = answer.reply.overdue;
            answer = self.client.compact(Compact::Keep(u64::MAX))?;
        }
        written(match self.format {
            Format::Text => writeln!(out, "the oldest revision that can be read is {compacted}"),
            Format::Json => output::compacted(out, answer.header.revision, compacted),
        })
    }

    /// Prints page by page: a long list takes no memory here.
    fn list(&mut self, prefix: &[u8], out: &mut impl Write) -> Result<(), Failure> {
        let mut range = Range::prefix(prefix);
        range.options.keys_only = self.format == Format::Text;
        let mut pages = self.client.pages(range);
        if self.format == Format::Text {
            for page in pages {
                for pair in page?.reply.kvs {
                    written(output::line(out, &words::shown(&pair.key)))?;
                }
            }
            return Ok(());
        }
        let Some(first) = pages.next().transpose()? else { return Ok(()) };
        let mut list = output::JsonList::begin(out, first.header.revision, first.reply.count);
        written(list.add(&first.reply.kvs))?;
        for page in pages {
            written(list.add(&page?.reply.kvs))?;
        }
        written(list.end())
    }
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    result.map_err(Failure::Output)
}

/// All of standard input. What is too large for any server is not read to its end.
fn read_value(input: Input) -> Result<Vec<u8>, Failure> {
    if input == Input::Taken {
        return Err(Failure::Usage(
            "the value - is read from standard input, where the commands come from already: use \
             it in a command of its own, as in: kv-cli put KEY - < FILE"
                .into(),
        ));
    }
    let mut value = Vec::new();
    let most = MAX_FRAME_BYTES as u64 + 1;
    io::stdin().lock().take(most).read_to_end(&mut value).map_err(Failure::Input)?;
    Ok(value)
}
