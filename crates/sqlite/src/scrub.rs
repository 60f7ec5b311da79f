//! Overwrites the unallocated space of pages.
//!
//! `secure_delete` overwrites what SQLite frees. But when SQLite moves rows between pages, it only
//! writes them at their new places: what lay there before stays between the pointers and the cells
//! of a page, until other rows cover it. So a text that is redacted later may be in a page that its
//! row left long before. <https://sqlite.org/fileformat2.html#b_tree_pages>
//!
//! ```text
//!  a leaf page:  header │ pointers ──►  unallocated: zeroed here  ◄── cells │
//! ```
//!
//! Enters: a file that SQLite does not write meanwhile. Leaves: the same database. Invariants: only
//! bytes that SQLite never reads are written, and only in leaf pages of tables, which hold the texts;
//! the first page, which holds none, and a page that is not as SQLite writes it stay as they are.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    ops::Range,
    os::unix::fs::FileExt,
};

/// The first byte of a leaf page of a table.
const LEAF: u8 = 0x0d;

const LEAF_HEADER_BYTES: usize = 8;

/// Where the header of the file has the size of its pages.
const PAGE_SIZE_AT: u64 = 16;

/// The size and number of the pages of a file.
#[derive(Clone, Copy)]
struct Pages {
    bytes: usize,
    count: u32,
}

impl Pages {
    fn of(file: &File) -> io::Result<Self> {
        let (length, mut size) = (file.metadata()?.len(), [0; 2]);
        if length == 0 {
            return Ok(Self { bytes: 1, count: 0 });
        }
        file.read_exact_at(&mut size, PAGE_SIZE_AT)?;
        let bytes = match u16::from_be_bytes(size) {
            0 => return Err(io::Error::new(io::ErrorKind::InvalidData, "its pages have no size")),
            1 => 65_536,
            bytes => usize::from(bytes),
        };
        Ok(Self { bytes, count: u32::try_from(length / bytes as u64).unwrap_or(u32::MAX) })
    }

    fn at(self, page: u32) -> u64 {
        u64::from(page - 1) * self.bytes as u64
    }

    /// The bytes to overwrite; `None` if all are zero already, or nothing in this page is ours.
    fn to_zero(self, number: u32, page: &[u8]) -> Option<Range<usize>> {
        let unallocated = (number > 1).then(|| unallocated(page, self.count)).flatten()?;
        page[unallocated.clone()].iter().any(|byte| *byte != 0).then_some(unallocated)
    }
}

/// The unallocated space of a page of a file of so many pages; `None` if it is no leaf of a table.
fn unallocated(page: &[u8], pages: u32) -> Option<Range<usize>> {
    let number =
        |at: usize| Some(usize::from(u16::from_be_bytes([*page.get(at)?, *page.get(at + 1)?])));
    // A page of another kind may begin with the number of a page, but not with one this large.
    let may_be_a_number = u32::from_be_bytes(page.get(..4)?.try_into().ok()?) <= pages;
    if page[0] != LEAF || may_be_a_number {
        return None;
    }
    let end = LEAF_HEADER_BYTES + 2 * number(3)?;
    let cells = match number(5)? {
        0 => 65_536,
        cells => cells,
    };
    let is_whole = end <= cells && cells <= page.len();
    let mut pointers = (LEAF_HEADER_BYTES..end).step_by(2);
    let is_one = is_whole && pointers.all(|at| number(at).is_some_and(|cell| cell >= cells));
    is_one.then_some(end..cells)
}

/// How many bits of a page in a file differ from the same page elsewhere. What is scrubbed in the file does not count.
pub(crate) fn bits_that_differ(in_file: &[u8], elsewhere: &[u8]) -> u32 {
    let scrubbed = unallocated(in_file, 0).unwrap_or_default();
    let pairs = in_file.iter().zip(elsewhere).enumerate();
    pairs.filter(|(at, _)| !scrubbed.contains(at)).map(|(_, (a, b))| (a ^ b).count_ones()).sum()
}

/// Zeroes the unallocated space of these pages, on stable storage.
pub(crate) fn scrub(file: &File, which: &BTreeSet<u32>) -> io::Result<()> {
    let pages = Pages::of(file)?;
    let (mut page, zeros) = (vec![0; pages.bytes], vec![0; pages.bytes]);
    let mut is_changed = false;
    for &number in which.iter().filter(|number| (1..=pages.count).contains(*number)) {
        file.read_exact_at(&mut page, pages.at(number))?;
        if let Some(range) = pages.to_zero(number, &page) {
            file.write_all_at(&zeros[range.clone()], pages.at(number) + range.start as u64)?;
            is_changed = true;
        }
    }
    if is_changed { file.sync_data() } else { Ok(()) }
}

/// Reads the first `bytes` of a file, which are complete pages, as if it had been scrubbed.
pub(crate) fn reader(file: File, bytes: u64) -> io::Result<impl Read + Send> {
    let pages = Pages::of(&file)?;
    Ok(Scrubbed { file: file.take(bytes), pages, number: 0, page: Vec::new(), read: 0 })
}

struct Scrubbed {
    file: io::Take<File>,
    pages: Pages,
    /// The number of `page`.
    number: u32,
    page: Vec<u8>,
    /// How many bytes of `page` were given out.
    read: usize,
}

impl Scrubbed {
    fn next_page(&mut self) -> io::Result<()> {
        self.page.clear();
        self.file.by_ref().take(self.pages.bytes as u64).read_to_end(&mut self.page)?;
        (self.number, self.read) = (self.number.saturating_add(1), 0);
        if self.page.len() == self.pages.bytes
            && let Some(range) = self.pages.to_zero(self.number, &self.page)
        {
            self.page[range].fill(0);
        }
        Ok(())
    }
}

impl Read for Scrubbed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.read == self.page.len() {
            self.next_page()?;
        }
        let count = (&self.page[self.read..]).read(into)?;
        self.read += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A leaf page of 64 bytes with two cells, and 7 in its unallocated space.
    fn leaf() -> Vec<u8> {
        let mut page = vec![7; 64];
        page[..12].copy_from_slice(&[LEAF, 0, 0, 0, 2, 0, 40, 0, 0, 52, 0, 40]);
        page
    }

    #[test]
    fn only_a_leaf_as_sqlite_writes_it_has_unallocated_space() {
        assert_eq!(unallocated(&leaf(), 1_000), Some(12..40));
        for (at, byte) in [(0, 0x05), (4, 30), (6, 10), (6, 65), (11, 39)] {
            let mut page = leaf();
            page[at] = byte;
            assert_eq!(unallocated(&page, 1_000), None, "byte {at} is {byte}");
        }
        assert_eq!(unallocated(&leaf(), u32::MAX), None, "it may be the number of a page");
    }

    #[test]
    fn the_first_page_and_what_is_zero_stay() {
        let pages = Pages { bytes: 64, count: 2 };
        let mut page = leaf();
        assert_eq!(pages.to_zero(2, &page), Some(12..40));
        assert_eq!(pages.to_zero(1, &page), None);
        page[12..40].fill(0);
        assert_eq!(pages.to_zero(2, &page), None);
    }
}
