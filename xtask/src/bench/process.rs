//! Programs that are started for a measurement, and that never outlive it.

use crate::step::shown;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a process may take to end when it is asked to.
const FAREWELL: Duration = Duration::from_secs(10);
/// Raises the limit of descriptors as far as this user may, and has the kernel kill the program when its starter dies.
const PRELUDE: &str = "ulimit -S -n \"$(ulimit -H -n)\"
if command -v setpriv >/dev/null; then exec setpriv --pdeathsig KILL -- \"$0\" \"$@\"; fi
exec \"$0\" \"$@\"";

/// A command for `program` that may open as many connections as this user is allowed.
pub fn limitless(program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", PRELUDE]).arg(program);
    command
}

/// A running program. Dropped, it is killed.
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with all its output in `log`. Its standard input stays open as long as it is not dropped.
    pub fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("cannot start `{}`", shown(command)))?;
        Ok(Self { name, child, log: log.to_owned() })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails when it has ended, with the end of its log.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}: {}", self.name, self.last_words()),
        }
    }

    /// Waits until `look` gives something.
    pub fn await_ready<T>(
        &mut self,
        patience: Duration,
        mut look: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = look(&self.output()) {
                return Ok(found);
            }
            self.check()?;
            if Instant::now() > deadline {
                let (name, seconds) = (self.name, patience.as_secs());
                bail!("{name} was not ready in {seconds} s: {}", self.last_words());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits for its end; meanwhile `watch` may find a reason to give up.
    pub fn await_end(
        &mut self,
        patience: Duration,
        mut watch: impl FnMut() -> Result<()>,
    ) -> Result<std::process::ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            watch()?;
            if Instant::now() > deadline {
                bail!("{} was not through after {} s", self.name, patience.as_secs());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Closes its standard input, which it takes for a wish, and waits until it has ended.
    pub fn dismiss(mut self) {
        drop(self.child.stdin.take());
        // One that does not end in time is killed.
        let _ = self.await_end(FAREWELL, || Ok(()));
    }

    pub fn output(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn last_words(&self) -> String {
        let output = self.output();
        let last = output.lines().rev().find(|line| !line.trim().is_empty());
        last.unwrap_or("it wrote nothing").trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Resident memory of a process in bytes.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Whether somebody listens on this port of 127.0.0.1. Asking the kernel leaves no connection in the listener's books.
pub fn is_listening(port: u16) -> bool {
    std::fs::read_to_string("/proc/net/tcp").is_ok_and(|table| table_has_listener(&table, port))
}

fn table_has_listener(table: &str, port: u16) -> bool {
    let address = format!("0100007F:{port:04X}");
    table.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        fields.next() == Some(&address) && fields.nth(1) == Some("0A")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("xtask-bench-{}-{name}.log", std::process::id()))
    }

    #[test]
    fn a_program_is_watched_from_start_to_end() {
        let log = log("watched");
        let mut command = limitless(Path::new("sh"));
        command.args(["-c", "echo ready: $$; read line; echo bye"]);
        let mut process = Process::start("the shell", &mut command, &log).unwrap();
        let patience = Duration::from_secs(60);
        let pid = process
            .await_ready(patience, |text| text.strip_prefix("ready: ")?.trim().parse::<u32>().ok())
            .unwrap();
        // The prelude leaves nothing between us and the program.
        assert_eq!(pid, process.id());
        assert!(resident_bytes(process.id()).unwrap() > 0);
        let error = process.await_end(patience, || bail!("enough")).unwrap_err();
        assert_eq!(error.to_string(), "enough");
        let error = process.await_end(Duration::ZERO, || Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "the shell was not through after 0 s");
        drop(process.child.stdin.take());
        assert!(process.await_end(patience, || Ok(())).unwrap().success());
        let error = process.check().unwrap_err().to_string();
        assert!(error.starts_with("the shell ended with") && error.ends_with(": bye"), "{error}");
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn listeners_are_told_from_connections() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
                     0: 0100007F:8635 00000000:0000 0A 00000000:00000000\n\
                     1: 0100007F:8636 0100007F:8635 01 00000000:00000000\n";
        assert!(table_has_listener(table, 0x8635));
        assert!(!table_has_listener(table, 0x8636));
        assert!(!table_has_listener(table, 0x8637));
    }
}
