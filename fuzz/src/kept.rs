//! Inputs that were kept of real fuzzing: one file for each target, `corpus/<target>`, so that thousands of inputs of a
//! hundred bytes are not thousands of files.
//!
//! A file is a sequence of inputs, each its length as a little-endian `u16` and its bytes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Longer inputs are not kept: shorter ones reach the same.
const MAX_LEN: usize = 4096;

fn file(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The inputs kept for a target.
///
/// # Errors
/// When its file cannot be read, or is cut short.
pub fn read(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let bytes = fs::read(file(target))?;
    let mut rest = bytes.as_slice();
    let mut inputs = Vec::new();
    while !rest.is_empty() {
        let cut_short = || io::Error::new(ErrorKind::InvalidData, format!("corpus/{target} is cut short"));
        let (length, after) = rest.split_first_chunk().ok_or_else(cut_short)?;
        let (input, after) =
            after.split_at_checked(u16::from_le_bytes(*length).into()).ok_or_else(cut_short)?;
        inputs.push(input.to_vec());
        rest = after;
    }
    Ok(inputs)
}

/// Keeps these inputs for a target, and no others.
///
/// # Errors
/// When its file cannot be written.
pub fn write(target: &str, inputs: BTreeSet<Vec<u8>>) -> io::Result<()> {
    let mut bytes = Vec::new();
    for input in inputs.iter().filter(|input| input.len() <= MAX_LEN) {
        let length = u16::try_from(input.len()).expect("inputs are short");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(input);
    }
    fs::write(file(target), bytes)
}
