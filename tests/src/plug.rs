//! The plug that is pulled at a point of one's choice: before or after one of a program's writes to its databases. A few lines
//! of C in front of the C library count the points, and end the program.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The counter, compiled, and what arms it.
#[derive(Debug)]
pub struct Plug {
    directory: TempDir,
}

impl Plug {
    /// Compiles it.
    ///
    /// # Panics
    /// Without a C compiler.
    pub fn new() -> Plug {
        let plug = Plug { directory: tempfile::tempdir().expect("a temporary directory") };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plug/pull.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(plug.library()).arg(source).arg("-ldl");
        let output = compiler.output().expect("a C compiler");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        plug
    }

    /// The environment of a program that ends at a point of those that it reaches once armed, counted from 1, in its databases in
    /// `place`.
    pub fn at(&self, point: u32, place: &Path) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.to_str().expect("a path of letters").to_owned();
        [
            ("LD_PRELOAD", text(self.library())),
            ("PLUG_PLACE", text(place.to_owned())),
            ("PLUG_ARMED", text(self.armed())),
            ("PLUG_AT", point.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// From now on points count.
    pub fn arm(&self) {
        std::fs::write(self.armed(), "").expect("the temporary directory can be written");
    }

    /// They do not, any more.
    pub fn disarm(&self) {
        // It may not have been armed.
        let _ = std::fs::remove_file(self.armed());
    }

    fn library(&self) -> PathBuf {
        self.directory.path().join("pull.so")
    }

    fn armed(&self) -> PathBuf {
        self.directory.path().join("armed")
    }
}

impl Default for Plug {
    fn default() -> Self {
        Self::new()
    }
}
