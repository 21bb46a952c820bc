//! The pages of the database, as they stand in the file.
//!
//! The database can check its file when it opens it, but then it reads all of it twice, on one
//! thread, before anybody else may read it a third time. Its trees are simple: every parent has a
//! checksum of each of its children, and the header one of each root. So whoever reads the whole
//! file anyway checks it in passing (`scan`). This module says what the bytes are; they are
//! described in `docs/design.md` of redb's sources, and fixed by the version of that format.
//!
//! Invariants:
//! 1. Nothing of a page is believed before it has matched the checksum that its parent has of it.
//! 2. What is not exactly as expected is not read here at all: no method guesses, `None` says that
//!    somebody who knows more has to look.

use twox_hash::XxHash3_128;

use super::bytes::Cursor;

/// What the header takes of the file; the first page is its.
pub(super) const HEADER_BYTES: usize = 320;

/// The bytes of the smallest page.
const PAGE_BYTES: u64 = 4096;

/// How many of those a region of the file has.
const REGION_PAGES: u32 = 1 << 20;

/// The format that all of this is about.
const FORMAT: u8 = 3;

/// Where a slot has its own checksum, which covers what is before it.
const SLOT_CHECKED_BYTES: usize = 112;

/// Which page, and the checksum that its parent has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    page: u64,
    checksum: u128,
}

impl Link {
    /// Where the page begins in the file, and how many bytes it has.
    pub(super) fn place(self) -> Option<(u64, u64)> {
        let order = self.page >> 59;
        let largest = u64::from(REGION_PAGES.trailing_zeros());
        let page_bytes = PAGE_BYTES.checked_shl(u32::try_from(order).ok()?)?;
        let index = self.page & (u64::from(REGION_PAGES - 1) >> order);
        let region = (self.page >> 20) & 0xf_ffff;
        // Behind the page of the header.
        let start = PAGE_BYTES + region * u64::from(REGION_PAGES) * PAGE_BYTES + index * page_bytes;
        (order <= largest).then_some((start, page_bytes))
    }

    /// That of a root, behind which there is a number: of what is below it.
    fn of_root(root: &mut Cursor<'_>) -> Option<Self> {
        let link = Self { page: number(root)?, checksum: checksum(root)? };
        number(root).map(|_| link)
    }
}

/// The roots of a file: of the tree of tables, and of the tree of the tables that the database has
/// for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Roots(pub(super) [Option<Link>; 2]);

impl Roots {
    /// Those of the last commit, if that was one in two phases, of a file of `file_bytes` bytes
    /// that begins with this header.
    pub(super) fn decode(header: &[u8; HEADER_BYTES], file_bytes: u64) -> Option<Self> {
        const MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";
        const IS_SECOND: u8 = 1;
        const IS_OPEN: u8 = 2;
        const IN_TWO_PHASES: u8 = 4;
        let mut cursor = Cursor(header);
        let is_ours = cursor.take(MAGIC.len())? == MAGIC;
        let flags = cursor.byte()?;
        cursor.take(2)?;
        let mut field = || cursor.array().map(u32::from_le_bytes).map(u64::from);
        let shape = [field()?, field()?, field()?];
        let (full_regions, other_pages) = (field()?, field()?);
        let pages = full_regions.checked_mul(u64::from(REGION_PAGES))?.checked_add(other_pages)?;
        let is_usual = flags & !(IS_SECOND | IS_OPEN) == IN_TWO_PHASES
            && shape == [PAGE_BYTES, 0, u64::from(REGION_PAGES)]
            && file_bytes == PAGE_BYTES.checked_add(pages.checked_mul(PAGE_BYTES)?)?;
        let (_, slots) = header.split_at_checked(64)?;
        let (first, second) = slots.split_at_checked(128)?;
        let slot = if flags & IS_SECOND == 0 { first } else { second };
        (is_ours && is_usual).then(|| Self::of_slot(slot))?
    }

    fn of_slot(slot: &[u8]) -> Option<Self> {
        let (checked, mut end) = slot
            .split_at_checked(SLOT_CHECKED_BYTES)
            .map(|(checked, end)| (checked, Cursor(end)))?;
        if checksum(&mut end)? != XxHash3_128::oneshot(checked) {
            return None;
        }
        let mut cursor = Cursor(checked);
        let [format, has_tables, has_own] = cursor.array()?;
        cursor.take(5)?;
        let tables = Link::of_root(&mut cursor)?;
        let own = Link::of_root(&mut cursor)?;
        let roots = [(has_tables != 0).then_some(tables), (has_own != 0).then_some(own)];
        (format == FORMAT).then_some(Self(roots))
    }
}

/// How long keys and values of a tree are, where all are equally long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) key_bytes: Option<usize>,
    pub(super) value_bytes: Option<usize>,
}

impl Shape {
    /// Of the trees of tables: the name of each, and what it is.
    pub(super) const OF_TABLES: Self = Self { key_bytes: None, value_bytes: None };
}

/// What the tree of tables says of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TableRow {
    /// `None` if the table is empty.
    pub(super) root: Option<Link>,
    pub(super) shape: Shape,
}

impl TableRow {
    /// A table with one value for each key.
    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        const ONE_VALUE: u8 = 3;
        let mut cursor = Cursor(row);
        let kind = cursor.byte()?;
        number(&mut cursor)?;
        let has_root = cursor.byte()? != 0;
        let root = Some(Link::of_root(&mut cursor)?).filter(|_| has_root);
        let mut width = || {
            let is_fixed = cursor.byte()? != 0;
            let bytes = usize::try_from(u32::from_le_bytes(cursor.array()?)).ok()?;
            Some(is_fixed.then_some(bytes))
        };
        let shape = Shape { key_bytes: width()?, value_bytes: width()? };
        (kind == ONE_VALUE).then_some(Self { root, shape })
    }
}

/// A page that matched its checksum.
#[derive(Clone, Copy, Debug)]
pub(super) enum Node<'a> {
    Leaf(Leaf<'a>),
    Branch(Branch<'a>),
}

impl<'a> Node<'a> {
    /// The page that `link` leads to, of a tree of this shape, if `page` is it.
    pub(super) fn check(page: &'a [u8], shape: Shape, link: Link) -> Option<Self> {
        const LEAF: u8 = 1;
        const BRANCH: u8 = 2;
        let [kind, _, count @ ..] = *page.first_chunk::<4>()?;
        let count = usize::from(u16::from_le_bytes(count));
        let (node, end) = match kind {
            LEAF => {
                let leaf = Leaf { page, count, shape };
                (Self::Leaf(leaf), leaf.value_end(count.checked_sub(1)?)?)
            }
            BRANCH => {
                let branch = Branch { page, count: count.checked_add(1)? };
                (Self::Branch(branch), branch.end(shape)?)
            }
            _ => return None,
        };
        (XxHash3_128::oneshot(page.get(..end)?) == link.checksum).then_some(node)
    }
}

/// A page with keys and values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf<'a> {
    page: &'a [u8],
    /// How many pairs it has.
    count: usize,
    shape: Shape,
}

impl<'a> Leaf<'a> {
    /// The pairs, in the order of the keys; `None` for one that lies outside of the page.
    pub(super) fn pairs(self) -> impl Iterator<Item = Option<(&'a [u8], &'a [u8])>> {
        (0..self.count).map(move |at| {
            let key_start = match at.checked_sub(1) {
                None => self.keys_start(),
                Some(before) => self.key_end(before)?,
            };
            let value_start = match at.checked_sub(1) {
                None => self.key_end(self.count - 1)?,
                Some(before) => self.value_end(before)?,
            };
            let key = self.page.get(key_start..self.key_end(at)?)?;
            Some((key, self.page.get(value_start..self.value_end(at)?)?))
        })
    }

    /// Behind the ends of keys and of values, as far as those are needed.
    fn keys_start(self) -> usize {
        let widths = [self.shape.key_bytes, self.shape.value_bytes];
        4 + 4 * self.count * widths.iter().filter(|width| width.is_none()).count()
    }

    fn key_end(self, at: usize) -> Option<usize> {
        match self.shape.key_bytes {
            Some(bytes) => self.keys_start().checked_add(bytes.checked_mul(at + 1)?),
            None => end_at(self.page, 4 + 4 * at),
        }
    }

    fn value_end(self, at: usize) -> Option<usize> {
        match (self.shape.value_bytes, self.shape.key_bytes) {
            (Some(bytes), _) => {
                self.key_end(self.count.checked_sub(1)?)?.checked_add(bytes.checked_mul(at + 1)?)
            }
            (None, Some(_)) => end_at(self.page, 4 + 4 * at),
            (None, None) => end_at(self.page, 4 + 4 * (self.count + at)),
        }
    }
}

/// A page with the pages below it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Branch<'a> {
    page: &'a [u8],
    /// How many pages are below it.
    count: usize,
}

impl Branch<'_> {
    /// The pages below it, in the order of their keys.
    pub(super) fn links(self) -> impl Iterator<Item = Option<Link>> {
        let (checksums, pages) = (8, 8 + 16 * self.count);
        (0..self.count).map(move |at| {
            let checksum = checksum(&mut Cursor(self.page.get(checksums + 16 * at..)?))?;
            let page = number(&mut Cursor(self.page.get(pages + 8 * at..)?))?;
            Some(Link { page, checksum })
        })
    }

    /// Where its keys end, of which there is one between every two pages.
    fn end(self, shape: Shape) -> Option<usize> {
        let keys = self.count.checked_sub(1).filter(|keys| *keys > 0)?;
        let links_end = 8 + 24 * self.count;
        match shape.key_bytes {
            Some(bytes) => links_end.checked_add(bytes.checked_mul(keys)?),
            None => end_at(self.page, links_end + 4 * (keys - 1)),
        }
    }
}

fn end_at(page: &[u8], place: usize) -> Option<usize> {
    let end = page.get(place..)?.first_chunk().copied().map(u32::from_le_bytes)?;
    usize::try_from(end).ok()
}

fn number(cursor: &mut Cursor<'_>) -> Option<u64> {
    cursor.array().map(u64::from_le_bytes)
}

fn checksum(cursor: &mut Cursor<'_>) -> Option<u128> {
    cursor.array().map(u128::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_lies_where_its_number_says() {
        let place = |region: u64, index: u64, order: u64| {
            let page = index | region << 20 | order << 59;
            Link { page, checksum: 0 }.place()
        };
        assert_eq!(place(0, 0, 0), Some((4096, 4096)));
        assert_eq!(place(0, 5, 2), Some((4096 + 5 * 16_384, 16_384)));
        assert_eq!(place(3, 1, 0), Some(((3 << 32) + 2 * 4096, 4096)));
        assert_eq!(place(0, 0, 20), Some((4096, 1 << 32)));
        assert_eq!(place(0, 0, 21), None, "more than a region");
        // What an index may not have is not looked at, as the format demands.
        assert_eq!(place(0, 0xf_ffff, 19), Some((4096 + (1 << 31), 1 << 31)));
    }

    #[test]
    fn a_page_is_checked_up_to_its_end_and_not_beyond() {
        let shape = Shape { key_bytes: Some(8), value_bytes: None };
        let mut page = vec![0; 4096];
        page[..4].copy_from_slice(&[1, 0, 2, 0]);
        let ends = [31_u32, 35];
        page[4..12].copy_from_slice(ends.map(u32::to_le_bytes).as_flattened());
        page[12..28].copy_from_slice([7_u64, 9].map(u64::to_le_bytes).as_flattened());
        page[28..35].copy_from_slice(b"onefour");
        let link = Link { page: 0, checksum: XxHash3_128::oneshot(&page[..35]) };
        let pairs = |page: &[u8]| match Node::check(page, shape, link)? {
            Node::Leaf(leaf) => leaf.pairs().map(|pair| pair.map(|(_, v)| v.to_vec())).collect(),
            Node::Branch(_) => None,
        };
        assert_eq!(pairs(&page), Some(vec![b"one".to_vec(), b"four".to_vec()]));
        for bit in 0..8 * 40 {
            let mut flipped = page.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // What follows its end means nothing.
            assert_eq!(pairs(&flipped).is_some(), bit >= 8 * 35, "bit {bit}");
        }
        for cut in 0..35 {
            assert_eq!(pairs(&page[..cut]), None, "cut at {cut}");
        }
    }
}
