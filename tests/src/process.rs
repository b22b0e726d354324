//! Child processes that never outlive the test that started them, and say why they failed.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::waiting::wait_for;

/// How much of a log a failing test shows.
const SHOWN_LOG_LINES: usize = 60;

/// A running program. Killed when dropped; a panicking test shows the end of its log.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its standard error appended to the file `log`. Standard output is left to the caller
    /// with [`Process::lines`].
    pub fn spawn(name: &'static str, command: &mut Command, log: &Path) -> Process {
        let stderr = open_log(log);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        Process::start(name, command, log)
    }

    /// Starts `command` with all of its output appended to the file `log`.
    pub fn spawn_quiet(name: &'static str, command: &mut Command, log: &Path) -> Process {
        command.stdin(Stdio::null()).stdout(open_log(log)).stderr(open_log(log));
        Process::start(name, command, log)
    }

    fn start(name: &'static str, command: &mut Command, log: &Path) -> Process {
        let child =
            command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error} ({command:?})"));
        Process { name, child, log: log.to_owned() }
    }

    /// The lines of its standard output, read by a thread so that the program never blocks on a full pipe.
    pub fn lines(&mut self) -> Lines {
        Lines::of(self.child.stdout.take().expect("standard output is piped and taken once"))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// Ends it at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// Asks it to stop (SIGTERM) and waits for its exit status.
    ///
    /// # Panics
    /// When it has not ended within `timeout`.
    pub fn terminate(self, timeout: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait(timeout)
    }

    /// Sends it a signal, named as `kill` names it.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: &str) {
        let pid = self.id();
        // The standard library only knows SIGKILL; every shell knows the others.
        let sent =
            Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status().expect("a shell");
        assert!(sent.success(), "{} (pid {pid}) was gone before it was sent SIG{signal}", self.name);
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its exit status.
    ///
    /// # Panics
    /// When it has not ended within `timeout`.
    pub fn wait(mut self, timeout: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        wait_for(&what, timeout, || self.child.try_wait().expect("a child of ours"))
    }

    /// Everything that it has written to its log.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn end(&mut self) {
        // Already gone is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(SHOWN_LOG_LINES)..];
            eprintln!("---- end of the log of {} ----\n{}\n----", self.name, shown.join("\n"));
        }
    }
}

/// Lines of a program's standard output as they come.
#[derive(Debug)]
pub struct Lines {
    receiver: Receiver<String>,
}

impl Lines {
    fn of(stdout: ChildStdout) -> Lines {
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Lines { receiver }
    }

    /// The next line, or `None` when the program closed its output or `timeout` passed.
    pub fn next(&self, timeout: Duration) -> Option<String> {
        self.receiver.recv_timeout(timeout).ok()
    }

    /// All that is left until the program closes its output.
    ///
    /// # Panics
    /// When the output is still open and silent after `timeout`.
    pub fn rest(self, timeout: Duration) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.receiver.recv_timeout(timeout) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("the program is silent but does not end; so far: {lines:?}")
                }
            }
        }
    }
}

/// What a program that ended by itself has said.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `command` to its end.
///
/// # Panics
/// When it has not ended within `timeout`.
pub fn run(name: &'static str, command: &mut Command, timeout: Duration) -> Finished {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (stdout, stderr) = (scratch.path().join("stdout"), scratch.path().join("stderr"));
    command.stdin(Stdio::null()).stdout(open_log(&stdout)).stderr(open_log(&stderr));
    let status = Process::start(name, command, &stderr).wait(timeout);
    Finished { status, stdout: read(&stdout), stderr: read(&stderr) }
}

/// A port of 127.0.0.1 that was free a moment ago, for programs that cannot choose one themselves.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

/// Waits until every other test that needs the whole processor is done. Cargo runs test binaries one after the
/// other, but other runners do not, so the lock is a file.
pub fn processor() -> File {
    let lock = File::create(std::env::temp_dir().join("assay-system-tests.lock")).expect("a lock file");
    lock.lock().expect("file locks work in the temporary directory");
    lock
}

fn open_log(path: &Path) -> File {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()))
}

fn read(path: &Path) -> String {
    let mut text = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut text)).expect("written a moment ago");
    String::from_utf8_lossy(&text).into_owned()
}
