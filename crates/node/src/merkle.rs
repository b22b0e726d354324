//! The coinbase's path to the merkle root.

use bitcoin::hashes::{Hash, HashEngine, sha256d};

/// The siblings of the coinbase from the deepest level up, for the ids of all other transactions in block order.
///
/// An odd level repeats its last hash (TD-32). Without other transactions the path is empty.
pub fn merkle_path(ids: impl IntoIterator<Item = [u8; 32]>) -> Box<[[u8; 32]]> {
    // The coinbase's own place on each level is never read: its sibling is always the hash at index 1.
    let mut level: Vec<[u8; 32]> = std::iter::once([0; 32]).chain(ids).collect();
    let mut path = Vec::new();
    while level.len() > 1 {
        path.push(level[1]);
        if level.len() % 2 == 1 {
            level.push(level[level.len() - 1]);
        }
        for i in 0..level.len() / 2 {
            level[i] = hash_pair(&level[2 * i], &level[2 * i + 1]);
        }
        level.truncate(level.len() / 2);
    }
    path.into_boxed_slice()
}

/// The merkle root: the coinbase's txid folded with its path (MP-94). With an empty path it is the txid itself.
pub fn fold_merkle_path(coinbase_txid: [u8; 32], path: &[[u8; 32]]) -> [u8; 32] {
    path.iter().fold(coinbase_txid, |hash, sibling| hash_pair(&hash, sibling))
}

fn hash_pair(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut engine = sha256d::Hash::engine();
    engine.input(left);
    engine.input(right);
    sha256d::Hash::from_engine(engine).to_byte_array()
}

#[cfg(test)]
mod tests {
    use {super::*, bitcoin::merkle_tree::calculate_root};

    fn id(n: u32) -> [u8; 32] {
        sha256d::Hash::hash(&n.to_le_bytes()).to_byte_array()
    }

    // proves: TV-18 MP-94 TD-32
    #[test]
    fn shape_of_small_paths() {
        let path = |n: u32| merkle_path((1..n).map(id));
        assert!(path(1).is_empty());
        assert_eq!(*path(2), [id(1)]);
        assert_eq!(*path(3), [id(1), hash_pair(&id(2), &id(2))]);
        assert_eq!(*path(4), [id(1), hash_pair(&id(2), &id(3))]);
        assert_eq!(
            *path(5),
            [
                id(1),
                hash_pair(&id(2), &id(3)),
                hash_pair(&hash_pair(&id(4), &id(4)), &hash_pair(&id(4), &id(4)))
            ]
        );
        assert_eq!(fold_merkle_path(id(0), &path(1)), id(0));
    }

    // proves: MP-94 TD-32 TP-04
    #[test]
    fn folds_to_the_root_of_the_whole_tree() {
        for n in (1..70).chain([127, 128, 129, 1000]) {
            let whole = calculate_root((0..n).map(|i| sha256d::Hash::from_byte_array(id(i)))).unwrap();
            assert_eq!(fold_merkle_path(id(0), &merkle_path((1..n).map(id))), whole.to_byte_array(), "{n}");
        }
    }
}
