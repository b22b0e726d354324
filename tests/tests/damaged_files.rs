//! Files of the data directory that are gone or not what was written: the pool does not start on them, says which it is
//! and what to do, and replaces nothing. `assay ledger verify` finds the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use assay_system_tests::assay::{AssayPool, PoolSettings};
use assay_system_tests::books::assert_nothing_lost_nor_twice;
use assay_system_tests::process;
use assay_system_tests::real_node::RealNode;
use assay_system_tests::recording_device::{Kind, RecordingDevice};
use assay_system_tests::waiting::wait_until;

const SOON: Duration = Duration::from_secs(60);

/// How the pool ended before its files are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All of the ledger is in one file.
    InGoodOrder,
    /// Its newest commits, here all of them, are in the log.
    Killed,
}

/// What happens to the files of a data directory, and what has to be said about it.
struct Damage {
    name: &'static str,
    after: End,
    harm: fn(&Path),
    told: &'static [&'static str],
    /// Whether `assay ledger verify` has to find it.
    in_the_ledger: bool,
}

const GONE: &[&str] = &["ledger.db", "a ledger was kept here", "restore a backup"];

const DAMAGES: [Damage; 9] = [
    Damage {
        name: "the ledger is empty",
        after: End::Killed,
        harm: |data| fs::write(data.join("ledger.db"), "").unwrap(),
        told: GONE,
        in_the_ledger: true,
    },
    Damage {
        name: "the ledger is missing",
        after: End::Killed,
        harm: |data| fs::remove_file(data.join("ledger.db")).unwrap(),
        told: GONE,
        in_the_ledger: true,
    },
    Damage {
        name: "all of the ledger is missing but the lock",
        after: End::Killed,
        harm: |data| {
            ["ledger.db", "ledger.db-wal", "ledger.db-shm"].iter().for_each(|name| {
                let _ = fs::remove_file(data.join(name));
            })
        },
        told: GONE,
        in_the_ledger: true,
    },
    Damage {
        name: "the ledger is cut off",
        after: End::InGoodOrder,
        harm: |data| change(data, "ledger.db", |bytes| bytes.truncate(bytes.len() / 2)),
        told: &["ledger.db", "damaged", "restore a backup"],
        in_the_ledger: true,
    },
    Damage {
        name: "the ledger is overwritten",
        after: End::InGoodOrder,
        harm: |data| change(data, "ledger.db", |bytes| bytes[4096..].fill(0x5a)),
        told: &["ledger.db", "damaged", "restore a backup"],
        in_the_ledger: true,
    },
    Damage {
        name: "the ledger's log is overwritten in the middle",
        after: End::Killed,
        harm: |data| {
            change(data, "ledger.db-wal", |bytes| {
                let middle = bytes.len() / 3;
                bytes[middle..middle + 100].fill(0x5a);
            })
        },
        told: &["ledger.db-wal", "damaged at byte", "restore the file"],
        in_the_ledger: true,
    },
    Damage {
        name: "the authority key is empty",
        after: End::InGoodOrder,
        harm: |data| fs::write(data.join("authority.key"), "").unwrap(),
        told: &["authority.key", "restore it from a backup"],
        in_the_ledger: false,
    },
    Damage {
        name: "the authority key is overwritten",
        after: End::InGoodOrder,
        harm: |data| fs::write(data.join("authority.key"), "rubbish").unwrap(),
        told: &["authority.key", "restore it from a backup"],
        in_the_ledger: false,
    },
    Damage {
        name: "the authority key is missing",
        after: End::InGoodOrder,
        harm: |data| fs::remove_file(data.join("authority.key")).unwrap(),
        told: &["authority.key", "restore it from a backup", "assay keys authority"],
        in_the_ledger: false,
    },
];

fn change(data: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = data.join(name);
    let mut bytes = fs::read(&path).expect("a file that the pool has left");
    change(&mut bytes);
    fs::write(path, bytes).expect("the temporary directory can be written");
}

/// The files of a directory as they are now.
struct Copy {
    directory: TempDir,
    of: PathBuf,
}

impl Copy {
    fn of(data: &Path) -> Copy {
        let directory = tempfile::tempdir().expect("a temporary directory");
        copy_files(data, directory.path());
        Copy { directory, of: data.to_owned() }
    }

    /// Makes the directory what it was.
    fn restore(&self) {
        for file in files(&self.of) {
            fs::remove_file(file).expect("the temporary directory can be written");
        }
        copy_files(self.directory.path(), &self.of);
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.is_file()).collect()
}

/// The pool's own files, without those in which SQLite notes who reads.
fn own_files(directory: &Path) -> Vec<PathBuf> {
    let mut own = files(directory);
    own.retain(|path| !["-wal", "-shm"].iter().any(|ending| path.to_string_lossy().ends_with(ending)));
    own.sort();
    own
}

fn copy_files(from: &Path, to: &Path) {
    for file in files(from) {
        fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("room for a copy");
    }
}

#[test]
fn damage_is_named_with_its_remedy_and_nothing_is_replaced() {
    let _processor = process::processor();
    let node = RealNode::start();
    let settings = PoolSettings { shares_per_minute: 600, min_share_hashes: 4096, ..PoolSettings::default() };
    let mut pool = AssayPool::start(&node, &settings);
    let data = pool.data_dir();
    let mut records = Vec::new();
    for end in [End::Killed, End::InGoodOrder] {
        let device = RecordingDevice::start(pool.addresses(), Kind::Extended, 8);
        wait_until("some commits", SOON, || device.record().acknowledged_shares() > 200);
        match end {
            End::Killed => pool.kill(),
            End::InGoodOrder => pool.stop(),
        }
        records.push(device.stop());
        let whole = Copy::of(&data);
        for damage in DAMAGES.iter().filter(|damage| damage.after == end) {
            assert_named(damage, &mut pool, &data);
            whole.restore();
        }
        pool.restart();
        pool.verify_ledger();
    }
    records.iter().for_each(|record| assert_nothing_lost_nor_twice(record, &pool));
}

fn assert_named(damage: &Damage, pool: &mut AssayPool, data: &Path) {
    let Damage { name, harm, told, in_the_ledger, .. } = damage;
    println!("{name}");
    harm(data);
    let damaged = own_files(data);
    let says = pool.refuses_to_start();
    assert!(told.iter().all(|part| says.contains(part)), "{name}: {says}");
    let audit = pool.audit();
    assert_eq!(audit.status.success(), !in_the_ledger, "{name}: {audit:?}");
    assert!(!in_the_ledger || format!("{audit:?}").contains("ledger"), "{name}: {audit:?}");
    assert_eq!(own_files(data), damaged, "{name}: something was made anew");
}

/// A kept block that is none does not hold up those that are found now, and stays for a person to look at.
#[test]
fn damaged_kept_blocks_are_set_aside() {
    let _processor = process::processor();
    let node = RealNode::start();
    let settings = PoolSettings { shares_per_minute: 600, min_share_hashes: 4096, ..PoolSettings::default() };
    let mut pool = AssayPool::start(&node, &settings);
    pool.stop();
    let block = node.block(100);
    let kept = pool.data_dir().join("blocks").join(block.block_hash().to_string());
    let bytes = bitcoin::consensus::serialize(&block);
    fs::write(kept.with_extension("block"), &bytes[..bytes.len() - 20]).expect("the pool made the directory");
    let other = pool.data_dir().join("blocks").join("00".repeat(32));
    fs::write(other.with_extension("block"), "rubbish").expect("the pool made the directory");

    pool.restart();
    let height = node.height();
    let device = RecordingDevice::start(pool.addresses(), Kind::Standard, 4);
    wait_until("a block", SOON, || node.height() > height);
    device.stop();
    wait_until("the damaged files are set aside", SOON, || {
        [&kept, &other].iter().all(|path| path.with_extension("damaged").is_file())
    });
    assert!(pool.log().contains("is damaged"), "{}", pool.log());
}
