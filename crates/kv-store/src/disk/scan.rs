//! The whole file, read and checked once, without the database.
//!
//! Everything that the database would check when it opens the file is checked here: each page of
//! each tree, from the header on down. Storage that remembers what was read of it (`checked`) then
//! shows the database nothing else. Whatever is not as usual, be it damage, an error of the disk,
//! or a file that a later version of the database wrote, is no error here: the database is to open
//! such a file, with all its own checks, and to say what is wrong.

use std::ops::Range;

use redb::StorageBackend;

use super::died::{self, AllMarks};
use super::file::{DEAD, DIED, RECORDS, STATE, STATE_ROW};
use super::pages::{HEADER_BYTES, Link, Node, Roots, Shape, TableRow};
use super::state::State;

/// The most levels of a tree that are believed.
const MAX_LEVELS: usize = 32;

/// Of our tables: numbers to bytes.
const SHAPE: Shape = Shape { key_bytes: Some(8), value_bytes: None };

/// A file of which everything but the blocks of records has been read.
#[derive(Debug)]
pub(super) struct Scan<'a, S> {
    pages: Pages<'a, S>,
    pub(super) state: State,
    pub(super) marks: AllMarks,
    /// The pages with the blocks, in the order of their numbers.
    blocks: Vec<Link>,
}

impl<'a, S: StorageBackend> Scan<'a, S> {
    /// Reads everything but the blocks. `None` if the file is for the database to look at.
    pub(super) fn begin(storage: &'a S) -> Option<Self> {
        let pages = Pages { storage, file_bytes: storage.len().ok()? };
        let mut header = [0; HEADER_BYTES];
        storage.read(0, &mut header).ok()?;
        let Roots([tables, own_tables]) = Roots::decode(&header, pages.file_bytes)?;
        pages.check_own_tables(own_tables)?;
        let (mut records, mut dead, mut died, mut state) = (None, None, None, None);
        for (name, table) in pages.tables(tables)? {
            let place = match name.as_str() {
                name if name == redb::TableHandle::name(&RECORDS) => &mut records,
                name if name == redb::TableHandle::name(&DEAD) => &mut dead,
                name if name == redb::TableHandle::name(&DIED) => &mut died,
                name if name == redb::TableHandle::name(&STATE) => &mut state,
                _ => return None,
            };
            if table.shape != SHAPE {
                return None;
            }
            *place = Some(table.root);
        }
        let mut marks = AllMarks::default();
        pages.rows(dead?, |number, row| marks.add_row(number, row))?;
        // Not there in format 1.
        pages.rows(died.flatten(), |key, row| {
            marks.add_list(&died::decode(key, row)?);
            Some(())
        })?;
        let mut found = None;
        pages.rows(state?, |key, row| {
            found = Some(State::decode(row).ok().filter(|_| key == STATE_ROW)?);
            Some(())
        })?;
        let state = found?;
        if marks.last() >= Some(state.mark.next_seq) {
            return None;
        }
        let blocks = pages.leaves(records?, SHAPE)?;
        Some(Self { pages, state, marks, blocks })
    }

    /// How many pages have blocks.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Reads the blocks of these pages, in the order of their numbers, each with its number.
    /// `None` if anything is not as it should be.
    pub(super) fn read(
        &self,
        which: Range<usize>,
        page: &mut Vec<u8>,
        mut take: impl FnMut(u64, &[u8]) -> Option<()>,
    ) -> Option<()> {
        let blocks = self.blocks.get(which)?;
        blocks.iter().try_for_each(|link| self.pages.read_rows(*link, page, &mut take))
    }
}

/// The pages of a file.
#[derive(Debug)]
struct Pages<'a, S> {
    storage: &'a S,
    file_bytes: u64,
}

impl<S: StorageBackend> Pages<'_, S> {
    /// The page that `link` leads to.
    fn read<'p>(&self, link: Link, shape: Shape, page: &'p mut Vec<u8>) -> Option<Node<'p>> {
        let (start, page_bytes) = link.place()?;
        if start.checked_add(page_bytes)? > self.file_bytes {
            return None;
        }
        page.resize(usize::try_from(page_bytes).ok()?, 0);
        self.storage.read(start, page).ok()?;
        Node::check(page, shape, link)
    }

    /// The leaves of a tree, in the order of their keys. All of them are at the same depth.
    fn leaves(&self, root: Option<Link>, shape: Shape) -> Option<Vec<Link>> {
        let mut page = Vec::new();
        let mut level = Vec::from_iter(root);
        for _ in 0..MAX_LEVELS {
            match level.first() {
                None => return Some(level),
                Some(first) => match self.read(*first, shape, &mut page)? {
                    Node::Leaf(_) => return Some(level),
                    Node::Branch(_) => {}
                },
            }
            let mut below = Vec::new();
            for link in level {
                let Node::Branch(branch) = self.read(link, shape, &mut page)? else { return None };
                for link in branch.links() {
                    below.push(link?);
                }
            }
            level = below;
        }
        None
    }

    /// All pairs of a tree.
    fn pairs(
        &self,
        root: Option<Link>,
        shape: Shape,
        mut take: impl FnMut(&[u8], &[u8]) -> Option<()>,
    ) -> Option<()> {
        let mut page = Vec::new();
        for link in self.leaves(root, shape)? {
            let Node::Leaf(leaf) = self.read(link, shape, &mut page)? else { return None };
            for pair in leaf.pairs() {
                let (key, value) = pair?;
                take(key, value)?;
            }
        }
        Some(())
    }

    /// All rows of one of our tables.
    fn rows(
        &self,
        root: Option<Link>,
        mut take: impl FnMut(u64, &[u8]) -> Option<()>,
    ) -> Option<()> {
        let mut page = Vec::new();
        let leaves = self.leaves(root, SHAPE)?;
        leaves.into_iter().try_for_each(|link| self.read_rows(link, &mut page, &mut take))
    }

    /// The rows of a page of one of our tables.
    fn read_rows(
        &self,
        link: Link,
        page: &mut Vec<u8>,
        take: &mut impl FnMut(u64, &[u8]) -> Option<()>,
    ) -> Option<()> {
        let Node::Leaf(leaf) = self.read(link, SHAPE, page)? else { return None };
        leaf.pairs().try_for_each(|pair| {
            let (key, value) = pair?;
            take(u64::from_le_bytes(*key.first_chunk()?), value)
        })
    }

    /// The tables of a tree of tables, by name.
    fn tables(&self, root: Option<Link>) -> Option<Vec<(String, TableRow)>> {
        let mut tables = Vec::new();
        self.pairs(root, Shape::OF_TABLES, |name, row| {
            tables.push((std::str::from_utf8(name).ok()?.to_owned(), TableRow::decode(row)?));
            Some(())
        })?;
        Some(tables)
    }

    /// Checks what the database keeps for itself: above all, which pages are free.
    fn check_own_tables(&self, root: Option<Link>) -> Option<()> {
        for (name, table) in self.tables(root)? {
            // Behind those there would be further trees; we make none.
            if name == "persistent_savepoints" && table.root.is_some() {
                return None;
            }
            self.pairs(table.root, table.shape, |_, _| Some(()))?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kv_proto::{Command, Put};
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::{Options, Position, Retention, Store};

    /// A file with some of every kind of page.
    fn image(path: &Path) -> Vec<u8> {
        let retention = Retention { revisions: 0, ..Retention::default() };
        let options = Options { retention, ..Options::default() };
        let mut store = Store::open(path, &options).expect("the disk works");
        // Of the last batch, too few die for their marks to be written.
        for index in 1..=410_u64 {
            let name = (index % 300).to_be_bytes();
            let value = vec![7; usize::from(name[7]) * 8];
            let mut command = Vec::new();
            let put = Command::Put(Put::new(&name, &value));
            put.encode(&mut command).expect("it is within the limits");
            store.apply(Position { term: 1, index }, &command).expect("the disk works");
            if index.is_multiple_of(50) {
                store.flush().expect("the disk works");
            }
        }
        drop(store);
        std::fs::read(path).expect("the disk works")
    }

    fn disk(image: &[u8]) -> InMemoryBackend {
        let disk = InMemoryBackend::new();
        disk.set_len(image.len() as u64).expect("memory");
        disk.write(0, image).expect("memory");
        disk
    }

    /// Everything that a scan hands out: the state, the marks and the blocks.
    type Content = (State, AllMarks, Vec<(u64, Vec<u8>)>);

    fn content(image: &[u8]) -> Option<Content> {
        let disk = disk(image);
        let scan = Scan::begin(&disk)?;
        let mut blocks = Vec::new();
        scan.read(0..scan.len(), &mut Vec::new(), |first, block| {
            blocks.push((first, block.to_vec()));
            Some(())
        })?;
        Some((scan.state, scan.marks, blocks))
    }

    fn whole() -> (Vec<u8>, Content) {
        let dir = tempfile::tempdir().expect("a directory for tests");
        let image = image(&dir.path().join("store.redb"));
        let content = content(&image).expect("it is as usual");
        (image, content)
    }

    #[test]
    fn what_a_scan_hands_out_is_what_the_database_hands_out() {
        let (image, (state, marks, blocks)) = whole();
        let database = redb::Builder::new().create_with_backend(disk(&image)).expect("memory");
        let view = redb::ReadableDatabase::begin_read(&database).expect("memory");
        let rows = |table: redb::TableDefinition<'static, u64, &'static [u8]>| {
            let table = view.open_table(table).expect("it is there");
            let rows = redb::ReadableTable::iter(&table).expect("memory").map(|row| {
                let (key, row) = row.expect("memory");
                (key.value(), row.value().to_vec())
            });
            rows.collect::<Vec<_>>()
        };
        assert!(blocks.len() > 20 && blocks == rows(RECORDS));
        assert_eq!(vec![(STATE_ROW, state.encode())], rows(STATE));
        let (dead, died) = (rows(DEAD), rows(DIED));
        assert!(!dead.is_empty() && !died.is_empty(), "there is some of both");
        let mut expected = AllMarks::default();
        for (number, row) in dead {
            expected.add_row(number, &row).expect("it was written");
        }
        for (key, row) in died {
            expected.add_list(&died::decode(key, &row).expect("it was written"));
        }
        assert_eq!(marks, expected);
    }

    #[test]
    fn a_file_that_is_not_as_it_was_written_is_not_read_or_the_same() {
        let (mut image, content) = whole();
        let mut refused = 0;
        // Every bit of the header, and one of every few bytes of all that follows.
        let in_header = (0..8 * HEADER_BYTES).map(|bit| (bit / 8, bit % 8));
        let behind = (4096..image.len()).step_by(97).map(|byte| (byte, byte % 8));
        for (byte, bit) in in_header.chain(behind) {
            if image[byte - byte % 4096..][..4096] == [0; 4096] {
                continue;
            }
            image[byte] ^= 1 << bit;
            match self::content(&image) {
                None => refused += 1,
                Some(found) => assert!(found == content, "bit {bit} of byte {byte}"),
            }
            image[byte] ^= 1 << bit;
        }
        assert!(refused > 1_000, "only {refused} were noticed");
        for length in [0, 1, 4096, image.len() / 2, image.len() - 1] {
            assert!(self::content(&image[..length]).is_none(), "{length} bytes");
        }
    }
}
