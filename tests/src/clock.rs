//! A wall clock that is set under a running program: Debian's `libfaketime` in front of the C library. The clock that
//! measures durations goes on as it is, as it does when somebody sets a machine's clock.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::assay::Surroundings;

/// The date as a program sees it.
#[derive(Debug)]
pub struct Clock {
    directory: TempDir,
}

impl Clock {
    /// A clock that is so many seconds ahead of the true time, or behind.
    pub fn ahead_by(seconds: i64) -> Clock {
        let clock = Clock { directory: tempfile::tempdir().expect("a temporary directory") };
        clock.set(seconds);
        clock
    }

    /// Sets it. Programs see it within about a second.
    pub fn set(&self, seconds: i64) {
        // Replaced as a whole, so that no half of a number is ever read.
        let aside = self.directory.path().join("new");
        std::fs::write(&aside, format!("{seconds:+}\n")).expect("the temporary directory can be written");
        std::fs::rename(aside, self.file()).expect("within a directory");
    }

    /// A program that sees this clock.
    pub fn surroundings(&self) -> Surroundings {
        let variables = [
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        let environment = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Surroundings { environment, ..Surroundings::default() }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("offset")
    }
}

/// Where Debian puts it on this processor.
fn library() -> PathBuf {
    let found = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    found
        .map(|directory| directory.path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.is_file())
        .expect("libfaketime is installed: run `cargo xtask test`, which sees to it")
}
