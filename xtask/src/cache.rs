//! The cache outside the tree in which built peers are kept, shared by all clones of a user.

use crate::step::say;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The cache directory, locked against other runs until this value is dropped.
pub struct Cache {
    root: PathBuf,
    _lock: File,
}

impl Cache {
    /// Opens and locks the cache; waits while another run holds it.
    pub fn open() -> Result<Self> {
        let root = root(|name| std::env::var_os(name))?;
        std::fs::create_dir_all(&root).with_context(|| {
            format!("cannot create {}; set ASSAY_CACHE to a writable place", root.display())
        })?;
        let path = root.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                say(format_args!("another run holds {}; waiting for it", path.display()));
                lock.lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the cache"),
        }
        Ok(Self { root, _lock: lock })
    }

    /// A path inside the cache.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// An existing directory for a build of `name`. What an interrupted build left there is kept, to go on from it.
    pub fn build_dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join("build").join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// An empty log file for the set-up of `name`.
    pub fn fresh_log(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(format!("{name}.log"));
        File::create(&path)?;
        Ok(path)
    }
}

/// Removes a directory tree, if it is there.
pub fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn root(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let chosen = set("ASSAY_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|path| path.join("assay")))
        .or_else(|| set("HOME").map(|path| path.join(".cache/assay")))
        .context("none of ASSAY_CACHE, XDG_CACHE_HOME and HOME is set; set ASSAY_CACHE")?;
    Ok(std::path::absolute(chosen)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_with(variables: &[(&str, &str)]) -> Result<PathBuf> {
        root(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_most_specific_variable_wins() {
        let home = ("HOME", "/home/a");
        let xdg = ("XDG_CACHE_HOME", "/x");
        assert_eq!(root_with(&[home]).unwrap(), Path::new("/home/a/.cache/assay"));
        assert_eq!(root_with(&[home, xdg]).unwrap(), Path::new("/x/assay"));
        assert_eq!(root_with(&[home, xdg, ("ASSAY_CACHE", "/c")]).unwrap(), Path::new("/c"));
        assert_eq!(root_with(&[home, ("ASSAY_CACHE", "")]).unwrap(), Path::new("/home/a/.cache/assay"));
        assert!(root_with(&[]).unwrap_err().to_string().contains("set ASSAY_CACHE"));
    }
}
