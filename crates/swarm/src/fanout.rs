//! New blocks: when the first, the middle and the last client hear of them.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::board::Round;
use crate::crowd::{Crowd, LOOK};
use crate::plan::{FanoutPlan, Fleet};
use crate::report::{BlockReport, Client, FanoutReport, Observed, micros};
use crate::{Stopped, SwarmError};

/// Most that is read of a trigger's output.
const OUTPUT: u64 = 1 << 16;

/// Opens all channels and waits for new blocks. A client has heard of one when SetNewPrevHash has come for all of its
/// channels; the time it takes to read and decrypt it here is in the figures.
///
/// Times count from the first client's, or from the start of the trigger, or from the moment that the trigger names:
/// if the last line of its output is a number, that is taken as a Unix time in microseconds. So a trigger that first
/// has to find a block prints `date +%s%6N` just before it hands it in.
///
/// # Errors
/// When the plan does not work, no connection comes to be, or no block arrives anywhere.
pub fn fanout(fleet: &Fleet, plan: &FanoutPlan, stopped: Stopped<'_>) -> Result<FanoutReport, SwarmError> {
    fleet.check()?;
    Observed::begin(fleet.server_pid)?;
    let crowd = Crowd::start(fleet, false)?;
    let set_up = crowd.connect(fleet.channels.max(1), stopped)?;
    crowd.board.books().watching = true;
    let mut blocks = Vec::new();
    for _ in 0..plan.blocks.max(1) {
        match one_block(&crowd, plan, stopped) {
            Ok(block) => blocks.push(block),
            Err(SwarmError::Interrupted | SwarmError::NoBlock { .. }) if !blocks.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(FanoutReport {
        mode: "fanout",
        client: Client::new(fleet),
        set_up,
        blocks,
        troubles: crowd.troubles(),
    })
}

fn one_block(crowd: &Crowd, plan: &FanoutPlan, stopped: Stopped<'_>) -> Result<BlockReport, SwarmError> {
    if plan.trigger.is_some() {
        pause(plan.pause, stopped);
    }
    let (known, expected) = {
        let books = crowd.board.books();
        (books.rounds.len(), books.ready)
    };
    let observed = Observed::begin(crowd.fleet.server_pid)?;
    let mut trigger = plan.trigger.as_deref().map(Trigger::start).transpose()?;
    let round = hear(crowd, plan, known, trigger.as_mut(), stopped)?;
    let server = observed.map(|observed| observed.end(round.heard.len() as u64)).transpose()?;
    let (since, origin) = match &mut trigger {
        Some(trigger) => trigger.finish(plan.wait)?,
        None => ("first-client", round.heard.iter().min().copied().unwrap_or_else(Instant::now)),
    };
    let heard = round.heard.iter().map(|at| micros(at.saturating_duration_since(origin))).collect();
    Ok(BlockReport {
        trigger_us: trigger.and_then(|trigger| trigger.took).map(micros),
        server,
        ..BlockReport::new(&round.prev_hash, since, heard, expected)
    })
}

/// Waits for the next block, and then for its last client or until patience ends.
fn hear(
    crowd: &Crowd,
    plan: &FanoutPlan,
    known: usize,
    mut trigger: Option<&mut Trigger>,
    stopped: Stopped<'_>,
) -> Result<Round, SwarmError> {
    let mut deadline = Instant::now() + plan.wait;
    let (mut begun, mut round, mut failed) = (false, None, None);
    crowd.until(stopped, |books| {
        if let Some(found) = books.rounds.get(known) {
            // The wait for the last begins with the first.
            if !std::mem::replace(&mut begun, true) {
                deadline = Instant::now() + plan.wait;
            }
            if found.heard.len() >= books.ready || Instant::now() >= deadline {
                round = Some(found.clone());
            }
        } else if let Some(trigger) = &mut trigger {
            failed = trigger.look().err();
        }
        round.is_some() || failed.is_some() || Instant::now() >= deadline
    })?;
    match (failed, round) {
        (Some(error), _) => Err(error),
        (None, Some(round)) => Ok(round),
        (None, None) => Err(SwarmError::NoBlock { seconds: plan.wait.as_secs() }),
    }
}

/// A command that makes a block.
struct Trigger {
    command: String,
    child: Child,
    started: Instant,
    took: Option<Duration>,
}

impl Trigger {
    fn start(command: &str) -> Result<Self, SwarmError> {
        let started = Instant::now();
        let child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Self::error(command, error.to_string()))?;
        Ok(Self { command: command.to_owned(), child, started, took: None })
    }

    fn error(command: &str, reason: String) -> SwarmError {
        SwarmError::Trigger { command: command.to_owned(), reason }
    }

    /// Whether it has ended; an error if it failed.
    fn look(&mut self) -> Result<bool, SwarmError> {
        match self.child.try_wait() {
            Ok(None) => Ok(false),
            Ok(Some(status)) if status.success() => {
                self.took.get_or_insert_with(|| self.started.elapsed());
                Ok(true)
            }
            Ok(Some(status)) => Err(Self::error(&self.command, format!("it ended with {status}"))),
            Err(error) => Err(Self::error(&self.command, error.to_string())),
        }
    }

    /// Waits for its end. Returns what times count from.
    fn finish(&mut self, patience: Duration) -> Result<(&'static str, Instant), SwarmError> {
        let deadline = Instant::now() + patience;
        while !self.look()? {
            if Instant::now() >= deadline {
                return Err(Self::error(
                    &self.command,
                    format!("it did not end in {} s", patience.as_secs()),
                ));
            }
            std::thread::sleep(LOOK);
        }
        let mut output = String::new();
        if let Some(stdout) = self.child.stdout.take() {
            // Output that is no text names no time.
            let _ = stdout.take(OUTPUT).read_to_string(&mut output);
        }
        let named = named_time(&output).and_then(instant_of);
        Ok(named.map_or(("trigger-start", self.started), |at| ("trigger-output", at)))
    }
}

impl Drop for Trigger {
    fn drop(&mut self) {
        // It has ended, but after an error; then nobody waits for it any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The Unix time in microseconds on the last line.
fn named_time(output: &str) -> Option<u64> {
    output.lines().rev().map(str::trim).find(|line| !line.is_empty())?.parse().ok()
}

/// When a Unix time in microseconds was. None if it lies in the future or too far back.
fn instant_of(unix_micros: u64) -> Option<Instant> {
    let at = UNIX_EPOCH + Duration::from_micros(unix_micros);
    Instant::now().checked_sub(SystemTime::now().duration_since(at).ok()?)
}

fn pause(time: Duration, stopped: Stopped<'_>) {
    let until = Instant::now() + time;
    while Instant::now() < until && !stopped() {
        std::thread::sleep(LOOK.min(time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_may_name_the_time() {
        for (output, expected) in [
            ("1700000000123456\n", Some(1_700_000_000_123_456)),
            ("block 7\n 42 \n\n", Some(42)),
            ("42\nblock 7\n", None),
            ("", None),
        ] {
            assert_eq!(named_time(output), expected, "{output:?}");
        }
        assert_eq!(instant_of(u64::MAX / 2), None);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let at = instant_of(u64::try_from(now.as_micros()).unwrap() - 1_000_000).unwrap();
        assert!(at.elapsed() >= Duration::from_secs(1));
    }

    #[test]
    fn triggers_that_fail_or_hang_are_told() {
        for (command, patience, reason) in
            [("exit 3", 60, "it ended with exit status: 3"), ("exec sleep 60", 0, "it did not end in 0 s")]
        {
            let mut trigger = Trigger::start(command).unwrap();
            let error = trigger.finish(Duration::from_secs(patience)).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("--trigger-cmd"), "{error}");
        }
        let mut trigger = Trigger::start("echo no number").unwrap();
        assert_eq!(trigger.finish(Duration::from_secs(60)).unwrap().0, "trigger-start");
        assert!(trigger.took.is_some());
        let mut trigger = Trigger::start("echo 1000; date +%s%6N").unwrap();
        assert_eq!(trigger.finish(Duration::from_secs(60)).unwrap().0, "trigger-output");
    }
}
