//! The ledger's disk: what is on it survives a crash, and nothing else does. Commits fail in every way that a commit can.

mod files;

use crate::{chance::Chance, profile::Profile, world::Medium};
use files::Files;
use ledger::{
    Event, StoreError, Tables,
    journal::{Decoder, Head, Row},
    store::{Group, Recovered, SqliteStore, Store},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use work::PayoutKey;

/// What the disk did with the commits, to be told in the trace.
pub type Told = Vec<&'static str>;

/// A disk that outlives the process.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<Platter>>);

struct Platter {
    rows: Vec<Row>,
    folded: Option<(Tables, Head)>,
    /// Credits of all rows by key.
    credited: BTreeMap<PayoutKey, u128>,
    decoder: Decoder,
    head: Head,
    chance: Chance,
    faults: Profile,
    full: bool,
    /// The process died inside a commit.
    crashed: bool,
    /// Commits of a process that is dead must not reach the disk.
    life: u64,
    told: Told,
    /// Where the ledger is on a real file system. The rest of the platter is then what must be found there.
    files: Option<Files>,
    /// A group whose commit the process did not survive: it is on the disk wholly or not at all.
    undecided: Vec<Row>,
}

impl Disk {
    /// An empty disk.
    pub fn new(chance: Chance, faults: Profile, medium: Medium) -> Self {
        let files = (medium == Medium::Files).then(Files::new);
        Self(Arc::new(Mutex::new(Platter {
            files,
            undecided: Vec::new(),
            rows: Vec::new(),
            folded: None,
            credited: BTreeMap::new(),
            decoder: Decoder::new(),
            head: Head::default(),
            chance,
            faults,
            full: false,
            crashed: false,
            life: 0,
            told: Vec::new(),
        })))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A store on this disk for a new process; the one before is dead.
    pub fn mount(&self) -> Mounted {
        let mut platter = self.platter();
        platter.life += 1;
        platter.crashed = false;
        let file = platter.files.as_ref().map(Files::open);
        Mounted { disk: self.clone(), life: platter.life, file }
    }

    /// The process dies now, wherever it is: what it has not synced is lost.
    pub fn power_off(&self) {
        let mut platter = self.platter();
        if !platter.crashed
            && let Some(files) = &mut platter.files
        {
            files.survive();
        }
        platter.crashed = true;
    }

    /// From now on other faults, or none.
    pub fn set_faults(&self, faults: Profile) {
        self.platter().faults = faults;
    }

    /// Whether there is room for more.
    pub fn set_full(&self, full: bool) {
        self.platter().full = full;
    }

    /// Whether the process died inside a commit.
    pub fn has_crashed(&self) -> bool {
        self.platter().crashed
    }

    /// What happened since this was asked last.
    pub fn told(&self) -> Told {
        std::mem::take(&mut self.platter().told)
    }

    /// Durable credit by key.
    pub fn credited(&self, key: &PayoutKey) -> u128 {
        self.platter().credited.get(key).copied().unwrap_or(0)
    }

    /// The events of the journal.
    pub fn events(&self) -> Vec<Event> {
        let platter = self.platter();
        let mut decoder = Decoder::new();
        let decode =
            |row: &Row| decoder.decode(row.kind, &row.payload).expect("the disk keeps what was written");
        platter.rows.iter().map(decode).collect()
    }
}

/// The store of one process on a [`Disk`].
pub struct Mounted {
    disk: Disk,
    life: u64,
    file: Option<SqliteStore>,
}

impl Store for Mounted {
    fn recover(&mut self) -> Result<Option<Recovered>, StoreError> {
        let mut platter = self.disk.platter();
        let Platter { chance, faults, crashed, life, .. } = &mut *platter;
        if *crashed || *life != self.life {
            return Err(failure("reading"));
        }
        if chance.permille(faults.read_fails) {
            platter.told.push("read failed");
            return Err(failure("reading"));
        }
        if let Some(file) = &mut self.file {
            let recovered = file.recover()?;
            platter.compare(recovered.as_ref());
            return Ok(recovered);
        }
        let Some((tables, folded)) = platter.folded.clone() else { return Ok(None) };
        let tail = platter.rows.iter().filter(|row| row.sequence > folded.sequence).cloned().collect();
        Ok(Some(Recovered { tables, folded, tail }))
    }

    fn commit(&mut self, group: &Group<'_>) -> Result<(), StoreError> {
        let Self { disk, life, file } = self;
        let platter = &mut *disk.platter();
        if platter.crashed || platter.life != *life {
            return Err(failure("committing"));
        }
        if platter.full {
            platter.told.push("commit on a full disk");
            return Err(StoreError::Full { doing: "committing to the ledger" });
        }
        let Platter { chance, faults, .. } = platter;
        if chance.permille(faults.commit_lost) {
            platter.told.push("commit lost");
            return Err(failure("committing"));
        }
        if chance.permille(faults.commit_kept) {
            platter.write(file.as_mut(), group)?;
            platter.told.push("commit kept but failed");
            return Err(failure("committing"));
        }
        if chance.permille(faults.commit_crash) {
            platter.crash(file.as_mut(), group);
            return Err(failure("committing"));
        }
        platter.write(file.as_mut(), group)
    }
}

impl Platter {
    /// What files hold must be what was committed, and of a commit that the process did not survive all or nothing.
    fn compare(&mut self, found: Option<&Recovered>) {
        let undecided = std::mem::take(&mut self.undecided);
        let head = found.map_or(Head::default(), |found| {
            let last = found.tail.last();
            last.map_or(found.folded, |row| Head { sequence: row.sequence, hash: row.hash })
        });
        if undecided.last().is_some_and(|row| row.hash == head.hash) {
            self.append(&undecided);
        }
        assert_eq!(head, self.head, "the files do not hold what was committed");
    }

    fn append(&mut self, rows: &[Row]) {
        for row in rows {
            row.follow(&mut self.head).expect("journal rows are committed in order");
            let event = self.decoder.decode(row.kind, &row.payload).expect("what is written can be read");
            if let Event::Credits(batch) = event {
                for (key, amount) in batch.credits {
                    *self.credited.entry(key).or_default() += u128::from(amount.get());
                }
            }
            self.rows.push(row.clone());
        }
    }

    fn write(&mut self, file: Option<&mut SqliteStore>, group: &Group<'_>) -> Result<(), StoreError> {
        if let Some(file) = file {
            file.commit(group)?;
        }
        self.take_in(group);
        Ok(())
    }

    /// The process dies somewhere in a commit.
    fn crash(&mut self, file: Option<&mut SqliteStore>, group: &Group<'_>) {
        self.crashed = true;
        let kind = match (&mut self.files, file) {
            (Some(files), Some(file)) => {
                let commit = || file.commit(group).expect("a real commit on a disk with room");
                files.tear(&mut self.chance, commit);
                self.undecided = group.rows.to_vec();
                "torn write"
            }
            _ if self.chance.permille(500) => {
                self.take_in(group);
                "crash after a commit"
            }
            _ => "crash before a commit",
        };
        self.told.push(kind);
    }

    fn take_in(&mut self, group: &Group<'_>) {
        self.append(group.rows);
        if let Some(fold) = &group.fold {
            assert_eq!(fold.head, self.head, "tables are of the last row");
            self.folded = Some((fold.state.tables(), fold.head));
        }
    }
}

fn failure(doing: &'static str) -> StoreError {
    StoreError::Open { path: doing.into(), source: std::io::Error::other("simulated") }
}
