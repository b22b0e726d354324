//! Whom a share behind an aggregated channel is credited to: the key in its worker field (extension 0x0002).

use std::collections::HashSet;
use std::sync::Arc;

use sv2::extensions::{TlvArea, WorkerIdentity};
use work::{PayoutKey, ShareMemory};

/// How long a connection's keys are counted together, in milliseconds.
const HOUR: u64 = 3_600_000;

/// About what a set takes for each of the keys that it has room for.
const KEY_BYTES: usize = 12;

/// A worker field that breaks the extension's rules: the share is refused (TLV-06).
pub(super) struct InvalidWorker;

/// The payout key in the share's worker field, if it holds one: 32 bytes that are a key and no text. A worker's *name*
/// (UTF-8) is a label and changes nothing about who is credited (WH-08).
pub(super) fn worker_key(tlvs: &TlvArea<'_>) -> Result<Option<PayoutKey>, InvalidWorker> {
    let Some(worker) = WorkerIdentity::find(tlvs).map_err(|_| InvalidWorker)? else { return Ok(None) };
    // A name that was cut inside a character is still a name, and no key looks like one but for the odd billionth.
    if worker.to_str().is_some() || ends_inside_a_character(worker.as_bytes()) {
        return Ok(None);
    }
    let key = <[u8; 32]>::try_from(worker.as_bytes()).map_err(|_| InvalidWorker)?;
    PayoutKey::from_bytes(key).map(Some).map_err(|_| InvalidWorker)
}

/// Whether all of `text` is UTF-8 but for a last character that is cut off.
fn ends_inside_a_character(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_err_and(|error| error.error_len().is_none())
}

/// The workers' keys that one connection has had credited. Every key is a line in the books of its epoch, and one share is
/// enough for it: so a connection may name only so many an hour.
pub(crate) struct WorkerKeys {
    /// 64 bits of each are enough to know it again.
    seen: HashSet<u64>,
    /// When the oldest of them came, in milliseconds.
    since: u64,
    memory: Arc<ShareMemory>,
    held: usize,
}

impl WorkerKeys {
    /// None yet; what they take is counted in `memory`.
    pub(super) fn new(memory: Arc<ShareMemory>, now: u64) -> Self {
        Self { seen: HashSet::new(), since: now, memory, held: 0 }
    }

    /// Whether shares may be credited to `key`: it is known, or new and one of at most `most` in an hour.
    pub(super) fn admit(&mut self, key: &PayoutKey, most: usize, now: u64) -> bool {
        let short = u64::from_le_bytes(*key.as_bytes().first_chunk().expect("32 bytes are more than 8"));
        if self.seen.contains(&short) {
            return true;
        }
        if now.saturating_sub(self.since) >= HOUR {
            self.forget();
            self.since = now;
        }
        if self.seen.len() >= most || !self.has_room() {
            return false;
        }
        self.seen.insert(short)
    }

    fn has_room(&mut self) -> bool {
        if self.seen.len() < self.seen.capacity() {
            return true;
        }
        let wanted = (self.seen.capacity() * 2 + 4) * KEY_BYTES;
        let granted = self.memory.grow(self.held, wanted);
        if granted {
            self.held = wanted;
        }
        granted
    }

    fn forget(&mut self) {
        self.seen = HashSet::new();
        self.memory.give(std::mem::take(&mut self.held));
    }
}

impl Drop for WorkerKeys {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::secp256k1::{Keypair, SECP256K1};

    use super::*;

    fn key() -> PayoutKey {
        PayoutKey::from(Keypair::new(SECP256K1, &mut rand::rngs::OsRng).x_only_public_key().0)
    }

    #[test]
    fn a_connection_names_so_many_keys_an_hour() {
        let memory = Arc::new(ShareMemory::new(1 << 20));
        let mut workers = WorkerKeys::new(Arc::clone(&memory), 0);
        let keys: Vec<_> = (0..20).map(|_| key()).collect();
        assert!(keys.iter().all(|key| workers.admit(key, 20, 5)));
        let one_more = key();
        assert!(!workers.admit(&one_more, 20, HOUR - 1));
        assert!(keys.iter().all(|key| workers.admit(key, 20, HOUR - 1)), "known ones go on");
        assert!(memory.used() >= 20 * KEY_BYTES);
        assert!(workers.admit(&one_more, 20, HOUR));
        drop(workers);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn a_process_without_memory_takes_no_new_keys() {
        let memory = Arc::new(ShareMemory::new(16 * 1024));
        let mut workers = WorkerKeys::new(Arc::clone(&memory), 0);
        let admitted = (0..1000).filter(|_| workers.admit(&key(), usize::MAX, 0)).count();
        assert!((20..100).contains(&admitted), "{admitted}");
        assert!(memory.used() <= 1024);
    }
}
