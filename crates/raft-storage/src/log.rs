//! [`Log`]: the write-ahead log.

use raft_core::{Entries, Entry, Index, Position, Write};

use crate::damage::{Damage, Fault};
use crate::disk::{Access, Disk};
use crate::error::{IoError, OpenError, ReadError, WriteError};
use crate::index::LogIndex;
use crate::meta::Meta;
use crate::open;
use crate::options::Options;
use crate::record::{decode_metas, entries_from};
use crate::recovery::Recovered;
use crate::room::Room;
use crate::sector::{Place, offset_bytes};
use crate::segment::{Found, SegmentReader, file_name};
use crate::writer::Writer;

/// A Raft log on a disk.
///
/// Guarantees:
/// 1. When [`Log::append`] returns `Ok`, all its writes survive a loss of power.
/// 2. A write is there whole or not at all, and never without those before it.
/// 3. A batch is written only after the one before it was synced.
/// 4. After any failure nothing more is written, and every call answers with that failure. That
///    there is no room for another segment is none: it is found out before anything is written.
/// 5. What [`Log::read`] returns is what was appended, or an error.
#[derive(Debug)]
pub struct Log<D: Disk> {
    // Fields are dropped in this order: the thread that makes segments ends before the lock is
    // released.
    /// What writes; or why nothing does.
    pub(crate) writer: Result<Writer<D>, WriteError>,
    pub(crate) disk: D,
    pub(crate) meta: Meta,
    pub(crate) index: LogIndex,
    pub(crate) reader: Option<SegmentReader<D::File>>,
    pub(crate) _lock: D::Lock,
}

impl<D: Disk> Log<D> {
    /// Opens the log in `disk`, or makes one if there is none, and says what it holds.
    ///
    /// A damaged log is left exactly as it is; [`Recovered::damage`] says what is wrong, and the
    /// log can only be read, as far as it is intact.
    ///
    /// # Errors
    ///
    /// If the directory is in use, belongs to another node, cluster or version, or cannot be read
    /// or written.
    pub fn open(disk: D, options: &Options) -> Result<(Self, Recovered), OpenError> {
        open::open(disk, options)
    }

    /// The id of this log: random, and another one each time a log is made. It is durable, and
    /// lost with the log, so it tells one life of a node from another.
    pub fn id(&self) -> u64 {
        self.meta.identity.log
    }

    /// Makes all of `writes` durable, in order, with one sync (one more for each segment that
    /// fills up within).
    ///
    /// # Errors
    ///
    /// [`WriteError::NoSpace`] says how many of the writes are durable, and the others may be
    /// appended again. Any other error is final: some of the writes may or may not be there after
    /// a restart, and the log takes no others. The process should end.
    pub fn append(&mut self, writes: &[Write]) -> Result<(), WriteError> {
        let end = self.writer.as_mut().map_err(|error| error.clone())?;
        let appended = end.append(&mut self.index, writes);
        self.stop_on_error(appended)
    }

    fn stop_on_error<E: Into<WriteError>>(
        &mut self,
        done: Result<(), E>,
    ) -> Result<(), WriteError> {
        done.map_err(|error| {
            let error = error.into();
            if !matches!(error, WriteError::NoSpace { .. }) {
                self.writer = Err(error.clone());
            }
            error
        })
    }

    /// How much more the log can take. Of one that takes nothing more at all, nothing is known.
    pub fn room(&self) -> Room {
        self.writer.as_ref().map_or(Room::Ample, Writer::room)
    }

    /// Tries again to make what there was no room for. To be called now and then while the
    /// [room](Log::room) is not ample; it does nothing otherwise.
    pub fn look_for_room(&mut self) {
        if let Ok(writer) = &mut self.writer {
            writer.spares.look_for_room();
        }
    }

    /// Reads entries from `first` to `last`: at least one, and no more than `max_bytes`
    /// ([`raft_core::Entry::size_bytes`]) unless the first alone is larger. A `last` beyond the
    /// log means its end.
    ///
    /// # Errors
    ///
    /// If the log does not hold the entry at `first`, if the operating system refuses, if what is
    /// read is not what was written, or after a failed write.
    pub fn read(
        &mut self,
        first: Index,
        last: Index,
        max_bytes: usize,
    ) -> Result<Entries, ReadError> {
        match &self.writer {
            Ok(_) | Err(WriteError::Damaged(_)) => {}
            Err(error) => return Err(ReadError::Failed(error.clone())),
        }
        if let Some(reader) = &mut self.reader {
            reader.refresh();
        }
        let (start, end) = (self.index.start().index, self.index.last().index);
        if first <= start || first > end || last < first {
            return Err(ReadError::NotInLog { first, start, last: end });
        }
        let mut entries = Vec::new();
        let (mut next, mut size_bytes) = (first, 0_usize);
        while next <= last && (size_bytes < max_bytes || entries.is_empty()) {
            let Some((slot, slot_end)) = self.index.locate(next) else { break };
            for entry in self.record_entries(slot.place, next, slot_end.min(last))? {
                size_bytes = size_bytes.saturating_add(entry.size_bytes());
                if size_bytes > max_bytes && !entries.is_empty() {
                    return Ok(entries.into());
                }
                entries.push(entry);
            }
            next = slot_end.next();
        }
        Ok(entries.into())
    }

    /// The entries from `first` to `last` of the record at `place`.
    fn record_entries(
        &mut self,
        place: Place,
        first: Index,
        last: Index,
    ) -> Result<Vec<Entry>, ReadError> {
        let mut payload = Vec::new();
        let found = self.find(place, &mut payload);
        let file = || self.disk.path(&file_name(place.segment));
        let damaged = |sector: u32, fault| {
            let offset_bytes = offset_bytes(sector);
            ReadError::Damaged(Damage { file: file(), offset_bytes, fault })
        };
        let header = match found.map_err(|error| IoError::new("read", &file(), error))? {
            Found::Record { header, .. } => header,
            Found::Bad(sector, fault) => return Err(damaged(sector, fault)),
            Found::Nothing | Found::Torn => {
                let rule = "sectors of it have gone back to unwritten";
                return Err(damaged(place.sector, Fault::Record { rule }));
            }
        };
        let (metas, commands) = decode_metas(&header, &payload)
            .map_err(|rule| damaged(place.sector, Fault::Record { rule }))?;
        let entries = entries_from(&header, &metas, commands, first);
        Ok(entries.take_while(|entry| entry.at.index <= last).collect())
    }

    /// Looks for the record at `place`; its payload goes to `payload`.
    fn find(&mut self, place: Place, payload: &mut Vec<u8>) -> std::io::Result<Found> {
        self.reader_of(place.segment)?.record(place.sector, payload)
    }

    fn reader_of(&mut self, segment: u32) -> std::io::Result<&mut SegmentReader<D::File>> {
        let held = self.reader.take().filter(|reader| reader.number == segment);
        let reader = match held {
            Some(reader) => reader,
            None => SegmentReader::open(&self.disk, &self.meta, segment, Access::Read)?,
        };
        Ok(self.reader.insert(reader))
    }

    /// Cuts off whole segments whose entries all lie at or before `upto`, which must be committed
    /// and no longer needed. Up to four of them wait to be used again; the others are removed.
    ///
    /// Safe against a crash at any moment: the `meta` file first says where the log begins, then
    /// the segments go, and what a crash leaves over is removed when the log is next opened. On a
    /// disk so full that there is no room for a new `meta` file, the reserve makes room for it; if
    /// there is none either, nothing is removed this time.
    ///
    /// # Errors
    ///
    /// As for [`Log::append`]; an error is final.
    pub fn compact(&mut self, upto: Index) -> Result<(), WriteError> {
        self.writer.as_ref().map_err(Clone::clone)?;
        let first = self.meta.first_segment;
        let Some(segment) = self.index.first_needed(upto).filter(|needed| *needed > first) else {
            return Ok(());
        };
        let removed = self.remove_before(segment);
        let is_removed = *removed.as_ref().unwrap_or(&false);
        self.stop_on_error(removed.map(drop))?;
        if is_removed {
            self.look_for_room();
            self.reader = None;
            self.index.forget_before(segment);
        }
        Ok(())
    }

    /// Removes the segments before this one; `false` if the disk is too full even for that.
    fn remove_before(&mut self, segment: u32) -> Result<bool, WriteError> {
        let spares = &mut self.writer.as_mut().map_err(|error| error.clone())?.spares;
        if open::remove_before(&self.disk, &mut self.meta, segment, spares)? {
            return Ok(true);
        }
        let given_up = spares.give_up_reserve();
        if given_up.map_err(|error| IoError::new("tidy up", &self.disk.directory(), error))? {
            return Ok(open::remove_before(&self.disk, &mut self.meta, segment, spares)?);
        }
        Ok(false)
    }

    /// Gives the room of segments that wait to be used again back to the disk, for whoever else
    /// needs it. Those that are cut off later wait again.
    ///
    /// # Errors
    ///
    /// If the operating system refuses; an error is final.
    pub fn free_room(&mut self) -> Result<(), WriteError> {
        let writer = self.writer.as_mut().map_err(|error| error.clone())?;
        let freed = writer.spares.free_retired();
        let freed = freed.map_err(|error| IoError::new("tidy up", &self.disk.directory(), error));
        self.stop_on_error(freed)
    }

    /// The position before the first entry.
    pub fn start(&self) -> Position {
        self.index.start()
    }

    /// The position of the last entry; [`Log::start`] if there is none.
    pub fn last(&self) -> Position {
        self.index.last()
    }
}
