//! A look at SQLite's log before SQLite opens it.
//!
//! The newest commits are in the log alone. SQLite reads it up to the first frame that is not whole, and takes the rest for
//! what a power cut left of a commit that never ended. So damage in the middle would silently take acknowledged shares with
//! it. But each commit is synced before the next begins: a power cut can tear one commit, the last. Where more of them
//! lie behind a broken frame, something else has broken it.
//!
//! A log that was cut off between two commits looks as if the rest had never been written. Nobody can tell.

use super::{StoreError, lock::beside};
use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read},
    path::Path,
};

/// The header's first word, but for its last bit, which says how sums are made.
const MAGIC: u32 = 0x377f_0682;
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Commits behind a broken frame that a power cut explains.
const TORN: u64 = 1;

/// Checks the log of the ledger at `path`, if it has one.
///
/// # Errors
/// When commits would be lost that a power cut does not explain, or when it cannot be read.
pub(crate) fn check(path: &Path) -> Result<(), StoreError> {
    let path = beside(path, "-wal");
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(StoreError::Open { path, source }),
    };
    match walk(&mut BufReader::new(file)) {
        Ok(Walk { lost, .. }) if lost <= TORN => Ok(()),
        Ok(Walk { offset, lost }) => Err(StoreError::DamagedLog { path, offset, lost }),
        Err(source) => Err(StoreError::Open { path, source }),
    }
}

/// How far a log can be read, and how many commits lie behind that.
#[derive(Debug, Default, PartialEq, Eq)]
struct Walk {
    offset: u64,
    lost: u64,
}

fn walk(log: &mut impl Read) -> io::Result<Walk> {
    let mut walk = Walk::default();
    let mut header = [0; HEADER];
    if !fill(log, &mut header)? {
        return Ok(walk);
    }
    let mut sums = Sums { big_endian: word(&header, 0) & 1 == 1, state: (0, 0) };
    sums.add(&header[..24]);
    let page_size = word(&header, 8) as usize;
    let whole = word(&header, 0) & !1 == MAGIC && sums.are(&header[24..]);
    if !whole && !(512..=65536).contains(&page_size) {
        // Without it no frame can be found.
        return Ok(Walk { offset: 0, lost: u64::from(header != [0; HEADER]) * (TORN + 1) });
    }
    let mut readable = whole;
    let mut salts = whole.then(|| header[16..24].to_vec());
    let mut frame = vec![0; FRAME_HEADER + page_size];
    let mut ends_at = HEADER as u64;
    while fill(log, &mut frame)? {
        ends_at += frame.len() as u64;
        // What a log held before it was begun anew has other salts.
        let current = salts.get_or_insert_with(|| frame[8..16].to_vec())[..] == frame[8..16];
        if readable {
            sums.add(&frame[..8]);
            sums.add(&frame[FRAME_HEADER..]);
            readable = current && sums.are(&frame[16..24]);
        }
        let ends_commit = word(&frame, 4) != 0;
        if readable && ends_commit {
            walk.offset = ends_at;
        }
        walk.lost += u64::from(!readable && current && ends_commit);
    }
    Ok(walk)
}

/// SQLite's running sums over a log.
struct Sums {
    big_endian: bool,
    state: (u32, u32),
}

impl Sums {
    fn add(&mut self, bytes: &[u8]) {
        let (mut first, mut second) = self.state;
        for pair in bytes.chunks_exact(8) {
            let words = [0, 4].map(|at| {
                let four = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
                if self.big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
            });
            first = first.wrapping_add(words[0]).wrapping_add(second);
            second = second.wrapping_add(words[1]).wrapping_add(first);
        }
        self.state = (first, second);
    }

    fn are(&self, written: &[u8]) -> bool {
        (word(written, 0), word(written, 4)) == self.state
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Fills the buffer; false when the file ends before.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
