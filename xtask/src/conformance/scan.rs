//! Finds `// proves: ROW ROW …` comments above tests in the source tree.

use anyhow::{Context, Result};
use std::fmt;
use std::path::{Path, PathBuf};

/// Directories whose tests count. This package's own tests prove nothing about the protocol.
const ROOTS: [&str; 3] = ["crates", "tests", "fuzz"];
const MARK: &str = "proves:";

/// A test that names a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The rule.
    pub row: String,
    /// The file, relative to the root, with `/` between its parts.
    pub file: String,
    /// The name of the test function.
    pub test: String,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.file, self.test)
    }
}

/// What a scan has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Every rule that a test names.
    pub proofs: Vec<Proof>,
    /// Comments that could not be read or stand above no test.
    pub findings: Vec<String>,
}

/// Scans all Rust files, in the order of their paths.
pub fn tree(root: &Path) -> Result<Scan> {
    let mut files = Vec::new();
    for name in ROOTS {
        rust_files(&root.join(name), &mut files)?;
    }
    files.sort();
    let mut scan = Scan::default();
    for path in files {
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let parts: Vec<_> = path.strip_prefix(root)?.iter().map(|part| part.to_string_lossy()).collect();
        file(&parts.join("/"), &text, &mut scan);
    }
    Ok(scan)
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                rust_files(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Rules named above the next function, and whether an attribute has shown that it is a test.
#[derive(Default)]
struct Pending {
    line: usize,
    rows: Vec<String>,
    is_test: bool,
}

fn file(name: &str, text: &str, scan: &mut Scan) {
    let mut pending: Option<Pending> = None;
    let mut list_goes_on = false;
    for (index, line) in text.lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        let comment = line.strip_prefix("//").map(|rest| rest.trim_start_matches(['/', '!']).trim());
        if let Some(comment) = comment {
            let list = comment.strip_prefix(MARK).or_else(|| {
                // A list may go on over several comment lines.
                (list_goes_on && !comment.is_empty() && rows(comment).all(is_row)).then_some(comment)
            });
            list_goes_on = list.is_some();
            if let Some(list) = list {
                let waiting = pending.get_or_insert_with(|| Pending { line: number, ..Pending::default() });
                for row in rows(list) {
                    if is_row(row) {
                        waiting.rows.push(row.to_owned());
                    } else {
                        scan.findings.push(format!("{name}:{number}: `{row}` is not a row"));
                    }
                }
            }
            continue;
        }
        list_goes_on = false;
        let Some(waiting) = &mut pending else { continue };
        if line.starts_with("#[") || line.starts_with("proptest!") {
            waiting.is_test |= marks_test(line);
            continue;
        }
        let test = function_name(line).filter(|_| waiting.is_test);
        if test.is_none() && continues_attribute(line) {
            continue;
        }
        match test {
            Some(test) => scan.proofs.extend(waiting.rows.drain(..).map(|row| Proof {
                row,
                file: name.to_owned(),
                test: test.to_owned(),
            })),
            None => scan.findings.push(format!("{name}:{}: `{MARK}` stands above no test", waiting.line)),
        }
        pending = None;
    }
    if let Some(waiting) = pending {
        scan.findings.push(format!("{name}:{}: `{MARK}` stands above no test", waiting.line));
    }
}

/// `#[test]`, `#[tokio::test(…)]` and `proptest! {`, but not `#[cfg(test)]`.
fn marks_test(line: &str) -> bool {
    ["#[test]", "proptest!"].iter().any(|mark| line.starts_with(mark)) || line.contains("::test")
}

/// Blank lines and the inside of an attribute that spans several lines end nothing.
fn continues_attribute(line: &str) -> bool {
    line.is_empty() || (function_name(line).is_none() && !line.ends_with(['{', '}', ';']))
}

fn rows(list: &str) -> impl Iterator<Item = &str> {
    list.split([' ', ',']).filter(|word| !word.is_empty())
}

/// `MP-17`: capitals and digits, a hyphen, and two digits or more.
fn is_row(word: &str) -> bool {
    word.split_once('-').is_some_and(|(prefix, number)| {
        prefix.starts_with(|first: char| first.is_ascii_uppercase())
            && prefix.chars().all(|each| each.is_ascii_uppercase() || each.is_ascii_digit())
            && number.len() >= 2
            && number.chars().all(|each| each.is_ascii_digit())
    })
}

fn function_name(line: &str) -> Option<&str> {
    let after = line.strip_prefix("fn ").or_else(|| {
        let (before, after) = line.split_once(" fn ")?;
        let modifiers = ["pub", "pub(crate)", "async", "const"];
        before.split(' ').all(|word| modifiers.contains(&word)).then_some(after)
    })?;
    let end = after.find(|each: char| !(each.is_alphanumeric() || each == '_'))?;
    (end > 0).then(|| &after[..end])
}

#[cfg(test)]
mod tests;
