//! Connections that do nothing: how fast they come, and what one takes.

use std::time::{Duration, Instant};

use crate::crowd::Crowd;
use crate::plan::{Fleet, IdlePlan};
use crate::report::{Client, IdleReport, Observed, WaveReport, micros, millis};
use crate::worker::Order;
use crate::{Stopped, SwarmError, process};

/// How often a hold looks whether to go on.
const LOOK: Duration = Duration::from_millis(20);

/// Sets up all connections, first with one channel each and then with all, reads the pool's memory after each step,
/// and holds them. With several waves all disconnect and come again, and memory is compared with that before the
/// first: what a pool does not give back is seen.
///
/// # Errors
/// When the plan does not work, no connection comes to be, or the owner stops before the first wave is up.
pub fn idle(fleet: &Fleet, plan: &IdlePlan, stopped: Stopped<'_>) -> Result<IdleReport, SwarmError> {
    fleet.check()?;
    let resident_before_bytes = resident(fleet)?;
    let crowd = Crowd::start(fleet, false)?;
    let mut waves: Vec<WaveReport> = Vec::new();
    let mut troubles = std::collections::BTreeMap::new();
    for wave in 1..=plan.waves.max(1) {
        if wave > 1 {
            crowd.disconnect()?;
            wait(plan.settle, stopped);
            if let Some(last) = waves.last_mut() {
                last.resident_closed_bytes = resident(fleet)?;
            }
        }
        let report = match one_wave(&crowd, plan, wave == 1, resident_before_bytes, stopped) {
            Err(SwarmError::Interrupted) if wave > 1 => break,
            report => report?,
        };
        waves.push(report);
        for (trouble, count) in crowd.troubles() {
            *troubles.entry(trouble).or_default() += count;
        }
        if stopped() {
            break;
        }
    }
    Ok(IdleReport { mode: "idle", client: Client::new(fleet), resident_before_bytes, waves, troubles })
}

fn one_wave(
    crowd: &Crowd,
    plan: &IdlePlan,
    first: bool,
    before: Option<u64>,
    stopped: Stopped<'_>,
) -> Result<WaveReport, SwarmError> {
    let fleet = &*crowd.fleet;
    let observed = Observed::begin(fleet.server_pid)?;
    let set_up = crowd.connect(fleet.channels.min(1), stopped)?;
    let server = observed.map(|observed| observed.end(set_up.ready as u64)).transpose()?;
    wait(plan.settle, stopped);
    let with_first = resident(fleet)?;

    let (mut further_channels, mut with_all) = (None, with_first);
    if fleet.channels > 1 {
        further_channels = Some(crowd.open(fleet.channels, stopped)?);
        wait(plan.settle, stopped);
        with_all = resident(fleet)?;
    }
    let further = further_channels.as_ref().map_or(0, |more| more.channels.saturating_sub(set_up.channels));

    let (ready, received) = (crowd.board.books().ready, crowd.board.received());
    let (begun, holding) = (Instant::now(), Observed::begin(fleet.server_pid)?);
    wait(plan.hold, stopped);
    let hold_cpu_us = holding.map(|holding| holding.end(1)).transpose()?.map(|cost| cost.cpu_us);
    let received = crowd.board.received() - received;
    let resident_bytes = resident(fleet)?;
    let answered = probe(crowd, stopped)?;
    let lost = ready.saturating_sub(crowd.board.books().ready) as u64;
    Ok(WaveReport {
        resident_per_connection_bytes: (first || fleet.channels <= 1)
            .then(|| per(with_first, before, set_up.ready))
            .flatten(),
        resident_per_further_channel_bytes: (first && further > 0)
            .then(|| per(with_all, with_first, further))
            .flatten(),
        set_up,
        further_channels,
        server,
        held_ms: millis(begun.elapsed()),
        lost,
        received,
        answered,
        client_resident_bytes: process::resident_bytes(std::process::id()).ok(),
        hold_cpu_us,
        resident_bytes,
        resident_closed_bytes: None,
    })
}

/// Asks all connections whether they still live; none if they have no channel to ask on.
fn probe(crowd: &Crowd, stopped: Stopped<'_>) -> Result<Option<usize>, SwarmError> {
    if crowd.fleet.channels == 0 {
        return Ok(None);
    }
    crowd.board.books().answered = 0;
    crowd.order(|_| Order::Probe)?;
    let deadline = Instant::now() + crowd.fleet.patience;
    match crowd.until(stopped, |books| books.answered >= books.ready || Instant::now() >= deadline) {
        // What was measured before is not lost to an owner in a hurry.
        Ok(()) | Err(SwarmError::Interrupted) => Ok(Some(crowd.board.books().answered)),
        Err(error) => Err(error),
    }
}

fn resident(fleet: &Fleet) -> Result<Option<u64>, SwarmError> {
    Ok(fleet.server_pid.map(process::resident_bytes).transpose()?)
}

/// What came on top, per thing.
fn per(now: Option<u64>, before: Option<u64>, things: usize) -> Option<u64> {
    now?.saturating_sub(before?).checked_div(things as u64)
}

/// Workers go on meanwhile.
fn wait(time: Duration, stopped: Stopped<'_>) {
    let until = Instant::now() + time;
    while !stopped() {
        let left = until.saturating_duration_since(Instant::now());
        if micros(left) == 0 {
            return;
        }
        std::thread::sleep(left.min(LOOK));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_came_on_top() {
        for (now, before, things, expected) in [
            (Some(300), Some(100), 10, Some(20)),
            (Some(50), Some(100), 10, Some(0)),
            (Some(300), Some(100), 0, None),
            (None, Some(100), 10, None),
            (Some(300), None, 10, None),
        ] {
            assert_eq!(per(now, before, things), expected);
        }
    }
}
