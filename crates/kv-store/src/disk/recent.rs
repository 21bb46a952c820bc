//! The latest records, in memory: what is not written yet, and what is read again soon.
//!
//! A record is copied once, into the chunk that is open. Sealed, the chunk does not change any
//! more: the writer reads it there, and so does whoever asks for a value in it.

use std::collections::VecDeque;
use std::sync::Arc;

use kv_proto::Bytes;

use super::record::Record;

/// When a chunk is this long, it is sealed.
const CHUNK_BYTES: usize = 64 << 10;

/// Records, one behind the other. Their numbers follow each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunk {
    /// The number of the first.
    first: u64,
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

/// One record of a chunk.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Where it ends.
    end: usize,
    weight: u64,
}

impl Chunk {
    /// An empty one whose first record will be `first`.
    fn new(first: u64) -> Self {
        let records = CHUNK_BYTES / 256;
        let (bytes, pieces) = (Vec::with_capacity(CHUNK_BYTES), Vec::with_capacity(records));
        Self { first, bytes, pieces }
    }

    /// Adds the next record.
    pub(crate) fn push(&mut self, record: &Record<'_>) {
        record.encode(&mut self.bytes);
        self.pieces.push(Piece { end: self.bytes.len(), weight: record.weight() });
    }

    /// Adds the records of another, which follow those here.
    fn append(&mut self, other: &Self) {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        let moved = |piece: &Piece| Piece { end: before + piece.end, ..*piece };
        self.pieces.extend(other.pieces.iter().map(moved));
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.pieces.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How many records are in it.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The number after its last.
    fn end(&self) -> u64 {
        self.first + self.pieces.len() as u64
    }

    /// Its records, in order, with their weights.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        (0..self.pieces.len()).map(|at| (self.record(at), self.pieces[at].weight))
    }

    fn record(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.pieces[before].end);
        &self.bytes[start..self.pieces[at].end]
    }

    /// What its records take in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.pieces.len() * size_of::<Piece>()
    }

    /// What it takes in memory as it is, with the room for more.
    fn held_bytes(&self) -> usize {
        let pieces_bytes = self.pieces.capacity() * size_of::<Piece>();
        size_of::<Self>() + self.bytes.capacity() + pieces_bytes
    }

    /// Gives the room for more back: there will be no more.
    fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.pieces.shrink_to_fit();
    }
}

/// Chunks that follow each other. Before the first of them, everything is in the file for sure.
#[derive(Debug)]
pub(crate) struct Recent {
    sealed: VecDeque<Arc<Chunk>>,
    open: Chunk,
    /// Of those that are sealed.
    sealed_bytes: usize,
    /// How many of those the writer has not been given yet.
    new_chunks: usize,
    /// What may be kept of what is in the file.
    cache_bytes: usize,
}

impl Recent {
    /// No records yet; the record `first` comes next.
    pub(crate) fn new(first: u64, cache_bytes: usize) -> Self {
        let (sealed, open) = (VecDeque::new(), Chunk::new(first));
        Self { sealed, open, sealed_bytes: 0, new_chunks: 0, cache_bytes }
    }

    /// Adds the next records.
    pub(crate) fn append(&mut self, records: &Chunk) {
        self.open.append(records);
        if self.open.bytes.len() >= CHUNK_BYTES {
            self.seal();
        }
    }

    fn seal(&mut self) {
        let next = Chunk::new(self.open.end());
        let mut chunk = std::mem::replace(&mut self.open, next);
        chunk.shrink();
        self.sealed_bytes += chunk.held_bytes();
        self.sealed.push_back(Arc::new(chunk));
        self.new_chunks += 1;
    }

    /// All that was added since this was asked for last.
    pub(crate) fn take_new(&mut self) -> Vec<Arc<Chunk>> {
        if !self.open.is_empty() {
            self.seal();
        }
        let known = self.sealed.len() - std::mem::take(&mut self.new_chunks);
        self.sealed.range(known..).cloned().collect()
    }

    /// The value of the record `seq`, if that is here.
    pub(crate) fn get(&self, seq: u64) -> Option<Bytes> {
        let chunk = match self.sealed.partition_point(|chunk| chunk.end() <= seq) {
            at if at < self.sealed.len() => &*self.sealed[at],
            _ => &self.open,
        };
        let at = usize::try_from(seq.checked_sub(chunk.first)?).ok()?;
        let record = (at < chunk.pieces.len()).then(|| chunk.record(at))?;
        Record::decode(record)?.put.map(|put| Bytes::from(put.value))
    }

    /// Drops the oldest chunks as long as they are too many. Those of records from `unwritten` on
    /// stay.
    pub(crate) fn evict(&mut self, unwritten: u64) {
        while self.sealed_bytes > self.cache_bytes
            && let Some(oldest) = self.sealed.pop_front_if(|chunk| chunk.end() <= unwritten)
        {
            self.sealed_bytes -= oldest.held_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use kv_proto::Revision;

    use super::super::record::PutRecord;
    use super::*;

    /// Adds a put of this many bytes at each of these numbers.
    fn add(recent: &mut Recent, seqs: std::ops::Range<u64>, value_bytes: usize) {
        for seq in seqs {
            let value = vec![seq.to_le_bytes()[0]; value_bytes];
            let created = Revision::new(1);
            let put = PutRecord { created, version: 1, lease: None, value: &value };
            let mut entry = Chunk::default();
            entry.push(&Record { modified: created, sub: 0, key: b"key", put: Some(put) });
            recent.append(&entry);
        }
    }

    fn present(recent: &Recent) -> Vec<u64> {
        (0..40).filter(|seq| recent.get(*seq).is_some()).collect()
    }

    #[test]
    fn the_oldest_go_first_and_the_unwritten_stay() {
        let mut recent = Recent::new(10, 50_000);
        add(&mut recent, 10..20, 20_000);
        assert_eq!(present(&recent), (10..20).collect::<Vec<_>>());
        recent.evict(10);
        assert_eq!(present(&recent), (10..20).collect::<Vec<_>>(), "nothing is written");
        recent.evict(15);
        assert_eq!(present(&recent), (14..20).collect::<Vec<_>>(), "four are a chunk");
        recent.evict(20);
        assert_eq!(present(&recent), (18..20).collect::<Vec<_>>(), "what is open stays");
        assert_eq!(recent.get(19).map(|value| value.to_vec()), Some(vec![19; 20_000]));
    }

    /// A store that was written to twice a second sealed a chunk for each of those writes. Each
    /// kept the room for 64 KiB, and counted as the few bytes in it: what was to take 8 MiB took
    /// gigabytes in the end.
    #[test]
    fn chunks_that_are_sealed_early_take_no_more_than_they_count() {
        let bound_bytes = 100_000;
        let mut recent = Recent::new(0, bound_bytes);
        for seq in 0..5_000 {
            add(&mut recent, seq..seq + 1, 10);
            assert_eq!(recent.take_new().len(), 1);
            recent.evict(seq + 1);
        }
        let capacity = |chunk: &Arc<Chunk>| chunk.bytes.capacity() + 16 * chunk.pieces.capacity();
        let taken_bytes = recent.sealed.iter().map(capacity).sum::<usize>();
        assert!(taken_bytes <= bound_bytes, "{taken_bytes} bytes");
        assert!(recent.sealed.len() > 100, "there is room for many small ones");
    }

    #[test]
    fn the_writer_gets_every_record_once() {
        let mut recent = Recent::new(0, 0);
        let mut written = 0;
        for step in 1..10 {
            add(&mut recent, written..written + step, 10_000);
            let records: usize = recent.take_new().iter().map(|chunk| chunk.iter().count()).sum();
            assert_eq!(records as u64, step);
            written += step;
            assert_eq!(recent.get(written - 1).map(|value| value.len()), Some(10_000));
            recent.evict(written);
            assert_eq!(present(&recent), Vec::<u64>::new());
        }
    }
}
