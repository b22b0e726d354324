//! The directory of found blocks, which outlives the process.

use bitcoin::BlockHash;
use pool::simulation::Shelf;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

/// Found blocks on a disk that never fails: what a pool does without is no fault of its own.
#[derive(Clone, Default)]
pub struct MemoryShelf(Arc<Mutex<BTreeMap<BlockHash, Vec<u8>>>>);

impl MemoryShelf {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<BlockHash, Vec<u8>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shelf for MemoryShelf {
    fn keep(&self, hash: &BlockHash, block: &[u8]) -> io::Result<()> {
        self.with(|blocks| blocks.insert(*hash, block.to_vec()));
        Ok(())
    }

    fn forget(&self, hash: &BlockHash) -> io::Result<()> {
        self.with(|blocks| blocks.remove(hash));
        Ok(())
    }

    fn all(&self) -> io::Result<Vec<(BlockHash, Vec<u8>)>> {
        Ok(self.with(|blocks| blocks.clone().into_iter().collect()))
    }
}
