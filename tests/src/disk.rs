//! Disks that fail under a running pool: a small one that is full, one that turns read-only, one that takes no more
//! writes. Mounting needs a mount namespace, which root has and most systems give to everybody; limits work everywhere.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::assay::{PATIENCE, Surroundings};
use crate::process::{Process, run};

/// A disk in a mount namespace of its own. It is gone with the value.
#[derive(Debug)]
pub struct Disk {
    /// Keeps the namespace.
    holder: Process,
    directory: TempDir,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Small { megabytes: u32 },
    Failing,
}

impl Disk {
    /// An empty disk of this size in memory; `None` where the system lets nobody mount one.
    pub fn small(megabytes: u32) -> Option<Disk> {
        Disk::make(Kind::Small { megabytes })
    }

    /// An ext4 file system that can be made to turn read-only as after a failure of its disk; `None` where the system
    /// has no loop devices for this user.
    pub fn failing() -> Option<Disk> {
        Disk::make(Kind::Failing)
    }

    fn make(kind: Kind) -> Option<Disk> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (mount, image) = (directory.path().join("mnt"), directory.path().join("image"));
        std::fs::create_dir(&mount).expect("the temporary directory can be written");
        let (mount, image) = (mount.display(), image.display());
        let set_up = match kind {
            Kind::Small { megabytes } => format!("mount -t tmpfs -o size={megabytes}m none {mount}"),
            Kind::Failing => format!(
                "truncate -s 64M {image} && mkfs.ext4 -q {image} && mount -o loop,errors=remount-ro {image} {mount}"
            ),
        };
        // Ends by itself should nobody end it.
        let script = format!("{set_up} && echo mounted && exec sleep 1000");
        let mut command = Command::new("unshare");
        if !is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "sh", "-c", &script]);
        let mut holder = Process::spawn("a mount namespace", &mut command, &directory.path().join("log"));
        let mounted = holder.lines().next(PATIENCE).as_deref() == Some("mounted");
        mounted.then_some(Disk { holder, directory, kind })
    }

    /// Where it is mounted, for whoever is in its namespace.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mnt")
    }

    /// A pool whose data, and whose log, are on it.
    pub fn surroundings(&self) -> Surroundings {
        let log = self.path_from_outside().join("pool.log");
        Surroundings {
            wrapper: self.wrapper(),
            data_dir: Some(self.path().join("data")),
            log: Some(log),
            ..Surroundings::default()
        }
    }

    /// The same place for whoever is not in the namespace.
    fn path_from_outside(&self) -> PathBuf {
        let path = self.path();
        let inside = path.strip_prefix("/").expect("temporary directories have absolute paths");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside)
    }

    fn wrapper(&self) -> Vec<String> {
        let holder = self.holder.id().to_string();
        let mut words = vec!["nsenter", "--target", &holder, "--mount"];
        if !is_root() {
            words.extend(["--user", "--preserve-credentials"]);
        }
        words.push("--");
        words.into_iter().map(str::to_owned).collect()
    }

    /// Takes all room that is left.
    pub fn fill(&self) {
        // It ends with an error, as it must.
        self.script(&format!("cat /dev/zero > {}/filler 2>/dev/null; true", self.path().display()));
    }

    /// Gives it back.
    pub fn free(&self) {
        self.script(&format!("rm {}/filler", self.path().display()));
    }

    /// The file system meets an error, upon which it refuses every write.
    pub fn fail(&self) {
        assert_eq!(self.kind, Kind::Failing);
        let mount = self.path();
        self.script(&format!(
            "device=$(findmnt --noheadings --output SOURCE {}) && echo 1 > /sys/fs/ext4/$(basename $device)/trigger_fs_error",
            mount.display()
        ));
    }

    /// What an operator does then, when nothing uses it any more: mounts it anew.
    pub fn mount_anew(&self) {
        assert_eq!(self.kind, Kind::Failing);
        let (mount, image) = (self.path(), self.directory.path().join("image"));
        let (mount, image) = (mount.display(), image.display());
        self.script(&format!(
            "umount {mount} && (fsck.ext4 -p {image} >/dev/null || test $? -le 1) && mount -o loop {image} {mount}"
        ));
    }

    fn script(&self, script: &str) {
        let mut words = self.wrapper().into_iter();
        let mut command = Command::new(words.next().expect("nsenter"));
        command.args(words).args(["sh", "-c", script]);
        let finished = run("a script on the disk", &mut command, Duration::from_secs(60));
        assert!(finished.status.success(), "{script}: {finished:?}");
    }
}

/// Words that run a program in a namespace where `path` can only be read; `None` where the system gives none.
pub fn read_only(path: &Path) -> Option<Vec<String>> {
    let mut words = vec!["unshare"];
    if !is_root() {
        words.push("--map-root-user");
    }
    let path = path.display();
    let script = format!("mount --bind {path} {path} && mount -o remount,bind,ro {path} && exec \"$@\"");
    words.extend(["--mount", "sh", "-c", &script, "sh"]);
    let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    let probe = Command::new(&words[0]).args(&words[1..]).arg("true").status();
    probe.is_ok_and(|status| status.success()).then_some(words)
}

/// Words that run a program without root's power to write what it may not.
pub fn without_privilege() -> Vec<String> {
    let words: &[&str] =
        if is_root() { &["setpriv", "--bounding-set=-dac_override,-dac_read_search"] } else { &["env"] };
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Words that run a program which survives [`refuse_writes`].
pub fn ready_for_refusal() -> Vec<String> {
    ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"].map(str::to_owned).to_vec()
}

/// Words that run a program for which every write to a file fails from the start.
pub fn refused_from_the_start() -> Vec<String> {
    ["sh", "-c", "trap '' XFSZ; ulimit -S -f 0; exec \"$@\"", "sh"].map(str::to_owned).to_vec()
}

/// Lets every write of the process to a file fail, or succeed again.
pub fn refuse_writes(process: u32, refuse: bool) {
    let limit = if refuse { "--fsize=0:" } else { "--fsize=unlimited:" };
    let mut command = Command::new("prlimit");
    command.args(["--pid", &process.to_string(), limit]);
    let finished = run("prlimit", &mut command, PATIENCE);
    assert!(finished.status.success(), "{finished:?}");
}

fn is_root() -> bool {
    let finished = run("id", Command::new("id").arg("-u"), PATIENCE);
    finished.stdout.trim() == "0"
}
