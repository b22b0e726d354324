//! `assay mint`: a mint in a process of its own, over a pool's ledger.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use crate::assay::{PATIENCE, assay};
use crate::process::{Lines, Process};

/// A running `assay mint`. It is killed when dropped; its files are the pool's.
#[derive(Debug)]
pub struct AssayMint {
    process: Option<Process>,
    lines: Option<Lines>,
    config: PathBuf,
    said: Vec<String>,
    address: String,
}

impl AssayMint {
    /// Starts it with a pool's configuration. It is not ready before the pool has made its ledger.
    pub fn spawn(config: &Path) -> AssayMint {
        let mut mint = AssayMint {
            process: None,
            lines: None,
            config: config.to_owned(),
            said: Vec::new(),
            address: String::new(),
        };
        mint.launch(&[]);
        mint
    }

    /// The same, ready.
    pub fn start(config: &Path) -> AssayMint {
        let mut mint = AssayMint::spawn(config);
        mint.await_ready();
        mint
    }

    /// Starts it again, with variables in its environment.
    ///
    /// # Panics
    /// When it runs already.
    pub fn restart_with(&mut self, environment: &[(String, String)]) {
        self.launch(environment);
        self.await_ready();
    }

    /// The same for a start that may be cut off: false when it was.
    pub fn survives_restart_with(&mut self, environment: &[(String, String)]) -> bool {
        self.launch(environment);
        if self.became_ready() {
            return true;
        }
        self.process = None;
        false
    }

    fn launch(&mut self, environment: &[(String, String)]) {
        assert!(self.process.is_none(), "the mint runs already");
        let mut command: Command = assay();
        command.args(["mint", "--config"]).arg(&self.config);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let mut process = Process::spawn("assay mint", &mut command, &self.config.with_file_name("mint.log"));
        self.lines = Some(process.lines());
        self.process = Some(process);
    }

    /// Waits until it serves. Then it keeps its port, so that wallets find it again.
    pub fn await_ready(&mut self) {
        assert!(self.became_ready(), "assay mint is not ready but says {:?}: {}", self.said, self.log());
    }

    fn became_ready(&mut self) -> bool {
        let lines = self.lines.as_ref().expect("the mint was started");
        let address = loop {
            let Some(line) = lines.next(PATIENCE) else { return false };
            match line.strip_prefix("ready: mint=") {
                Some(address) => break address.to_owned(),
                // A new wallet's words come before.
                None => self.said.push(line),
            }
        };
        let config = std::fs::read_to_string(&self.config).expect("the pool's configuration");
        let fixed =
            config.replace("[mint]\nlisten = \"127.0.0.1:0\"", &format!("[mint]\nlisten = \"{address}\""));
        std::fs::write(&self.config, fixed).expect("the pool's directory can be written");
        self.address = address;
        true
    }

    /// The mint's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("the mint runs").id()
    }

    /// What it said before it was ready.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Ends it with SIGKILL, in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.process.take().expect("the mint runs").kill();
    }

    /// Asks it to stop, which it must do in good order.
    pub fn stop(&mut self) {
        let status = self.end();
        assert!(status.success(), "assay mint ends with {status} on SIGTERM");
    }

    /// Asks it to stop, unless it is dead already.
    pub fn end(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the mint was started");
        if process.is_running() { process.terminate(PATIENCE) } else { process.wait(PATIENCE) }
    }
}
