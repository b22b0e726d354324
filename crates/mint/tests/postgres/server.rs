//! A PostgreSQL server of the test's own: in a temporary directory, on a Unix socket there, ended with the test.

use assay_mint::{Database, Postgres};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

use crate::rig::Place;

/// Its start, and a recovery, on a machine that compiles something beside it.
const PATIENCE: Duration = Duration::from_secs(60);
/// The server refuses to run as root; Debian makes this user for it.
const USER: &str = "postgres";

pub struct Server {
    directory: TempDir,
    process: Option<Child>,
}

impl Server {
    pub fn start() -> Self {
        let directory = TempDir::new().unwrap();
        if is_root() {
            done(Command::new("chown").arg(USER).arg(directory.path()));
        }
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let mut server = Self { directory, process: None };
        let initdb = ["--auth=trust", "--username=mint", "--encoding=UTF8", "--no-locale", "--no-sync"];
        done(server.program("initdb").args(initdb).arg("--pgdata").arg(server.data()));
        server.restart();
        server
    }

    /// Starts it on the files that it has.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the server runs");
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).args(["-c", "listen_addresses=", "-c", "max_connections=100"]);
        command.arg("-k").arg(self.directory.path()).stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while !is_quietly_done(self.program("pg_isready").arg("-h").arg(self.directory.path())) {
            assert!(Instant::now() < deadline, "the server is not ready");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it and all its workers in the middle of whatever they do.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the server runs");
        // SIGQUIT to its first process is what PostgreSQL calls an immediate shutdown: no checkpoint, recovery at the next start.
        let pid = process.id().to_string();
        assert!(is_quietly_done(Command::new("kill").args(["-QUIT", &pid])));
        process.wait().unwrap();
    }

    /// A schema for each of the mints.
    pub fn place(&self) -> Place {
        let access = format!("host={} user=mint dbname=postgres", self.directory.path().display());
        Arc::new(move |_, schema| Database::Postgres(Postgres { access: access.clone(), schema }))
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// One of the server's programs, by a user who may run it, and never longer than the test.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if is_root() {
            command.args(["--reuid", USER, "--regid", USER, "--init-groups"]);
        }
        command.arg("--").arg(programs().join(name)).current_dir(self.directory.path());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// Where Debian puts the programs of the newest version.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let programs =
        versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    let version = |bin: &PathBuf| {
        let name = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        name.and_then(|name| name.parse::<u32>().ok())
    };
    programs.max_by_key(version).expect("PostgreSQL is installed: run `cargo xtask test`, which sees to it")
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn is_quietly_done(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}
