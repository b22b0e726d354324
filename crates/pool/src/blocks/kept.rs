//! Found blocks on disk, from the moment they are found until the node has judged them: a pool that is killed while its
//! node is away loses no block.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bitcoin::BlockHash;
use tracing::warn;

/// Ending of a kept block's file; its name is the block's hash, its content the block as the node takes it.
const ENDING: &str = "block";

/// Blocks that are kept at once. The node judges one within a second; at the real network's difficulty, more than a few
/// are never found while it is away. All of them are in memory together when they are handed in again.
const MOST: usize = 32;

/// Keeps blocks.
pub trait Shelf: Send + Sync {
    /// Puts a block there, wholly or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    fn keep(&self, hash: &BlockHash, block: &[u8]) -> io::Result<()>;

    /// The node has judged the block.
    ///
    /// # Errors
    /// When it cannot be removed; it is no error that it is not there.
    fn forget(&self, hash: &BlockHash) -> io::Result<()>;

    /// What is kept under this hash is no block of that hash: puts it out of the way, for a person to look at.
    ///
    /// # Errors
    /// When it cannot be moved.
    fn set_aside(&self, hash: &BlockHash) -> io::Result<()> {
        self.forget(hash)
    }

    /// Blocks that the node has not judged yet, in no order. One that cannot be read is left out, and left there.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn all(&self) -> io::Result<Vec<(BlockHash, Vec<u8>)>>;
}

/// The directory of kept blocks.
pub(crate) struct DirShelf {
    dir: Option<PathBuf>,
}

impl DirShelf {
    /// Keeps blocks in `dir`, which is made; without one, nothing is kept.
    pub(crate) fn new(dir: Option<&Path>) -> io::Result<Self> {
        if let Some(dir) = dir {
            fs::create_dir_all(dir)?;
        }
        Ok(Self { dir: dir.map(Path::to_owned) })
    }

    fn path(&self, hash: &BlockHash) -> Option<PathBuf> {
        Some(self.dir.as_ref()?.join(hash.to_string()).with_extension(ENDING))
    }
}

impl Shelf for DirShelf {
    /// Written aside and renamed, so that no half of a block is ever found.
    fn keep(&self, hash: &BlockHash, block: &[u8]) -> io::Result<()> {
        let (Some(path), Some(dir)) = (self.path(hash), &self.dir) else { return Ok(()) };
        if fs::read_dir(dir)?.take(MOST).count() == MOST {
            return Err(io::Error::other(format!("{MOST} blocks wait there already")));
        }
        let aside = path.with_extension("new");
        let mut file = File::create(&aside)?;
        file.write_all(block)?;
        // Else a power cut may leave the name and not the block.
        file.sync_all()?;
        fs::rename(aside, path)?;
        // … or the block and not the name.
        File::open(dir)?.sync_all()
    }

    fn forget(&self, hash: &BlockHash) -> io::Result<()> {
        match self.path(hash).map(fs::remove_file) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn set_aside(&self, hash: &BlockHash) -> io::Result<()> {
        self.path(hash).map_or(Ok(()), |path| fs::rename(&path, path.with_extension("damaged")))
    }

    fn all(&self) -> io::Result<Vec<(BlockHash, Vec<u8>)>> {
        let Some(dir) = &self.dir else { return Ok(Vec::new()) };
        let mut blocks = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let hash = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if let (Some(hash), true) = (hash, path.extension().is_some_and(|ending| ending == ENDING)) {
                match fs::read(&path) {
                    Ok(block) => blocks.push((hash, block)),
                    Err(error) => warn!(file = %path.display(), %error, "kept block cannot be read"),
                }
            }
        }
        Ok(blocks)
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    #[test]
    fn blocks_are_kept_until_they_are_judged() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("blocks");
        let hashes = [1, 2].map(|byte| BlockHash::from_byte_array([byte; 32]));
        let kept = DirShelf::new(Some(&dir)).unwrap();
        for hash in &hashes {
            kept.keep(hash, &hash.to_byte_array()).unwrap();
        }
        // A half-written one, and what others put there, is not taken for a block.
        fs::write(dir.join("half.new"), b"x").unwrap();
        fs::write(dir.join("README.block"), b"x").unwrap();

        let after_a_restart = DirShelf::new(Some(&dir)).unwrap();
        let mut all = after_a_restart.all().unwrap();
        all.sort();
        assert_eq!(all, hashes.map(|hash| (hash, hash.to_byte_array().to_vec())));
        after_a_restart.forget(&hashes[0]).unwrap();
        after_a_restart.forget(&hashes[0]).unwrap();
        assert_eq!(after_a_restart.all().unwrap().len(), 1);
        // One that cannot be read does not hide the others.
        fs::create_dir(dir.join(hashes[0].to_string()).with_extension(ENDING)).unwrap();
        assert_eq!(after_a_restart.all().unwrap().len(), 1);
        after_a_restart.set_aside(&hashes[1]).unwrap();
        assert!(after_a_restart.all().unwrap().is_empty());
        assert!(dir.join(hashes[1].to_string()).with_extension("damaged").is_file());
    }

    #[test]
    fn only_so_many_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let kept = DirShelf::new(Some(dir.path())).unwrap();
        let hashes: Vec<_> = (0..33).map(|byte| BlockHash::from_byte_array([byte; 32])).collect();
        assert!(hashes[..32].iter().all(|hash| kept.keep(hash, b"block").is_ok()));
        let error = kept.keep(&hashes[32], b"block").unwrap_err().to_string();
        assert!(error.contains("32 blocks"), "{error}");
        kept.forget(&hashes[0]).unwrap();
        kept.keep(&hashes[32], b"block").unwrap();
    }

    #[test]
    fn without_a_directory_nothing_is_kept() {
        let kept = DirShelf::new(None).unwrap();
        let hash = BlockHash::all_zeros();
        kept.keep(&hash, b"block").unwrap();
        kept.forget(&hash).unwrap();
        assert!(kept.all().unwrap().is_empty());
    }
}
