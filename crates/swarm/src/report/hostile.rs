//! What [`hostile`](fn@crate::hostile) found out.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::{Bytes, Client, ServerCost, SetUp, Shares, troubles, us};
use crate::hostile::{Attack, Damage};

/// What [`hostile`](fn@crate::hostile) found out.
#[derive(Clone, Debug, Serialize)]
pub struct HostileReport {
    /// Always `hostile`.
    pub mode: &'static str,
    /// The good devices.
    pub client: Client,
    /// Shares a second that all of them together were to send.
    pub rate: u64,
    /// How they connected.
    pub set_up: SetUp,
    /// Good devices that were no longer there at the end.
    pub devices_lost: usize,
    /// The attacks, or the one of all together.
    pub assaults: Vec<Assault>,
    /// What went wrong for the good devices, and how often.
    pub troubles: BTreeMap<String, u64>,
}

/// Attacks at one time, and the good devices before, meanwhile and afterwards.
#[derive(Clone, Debug, Serialize)]
pub struct Assault {
    /// What the attackers did.
    pub attacks: Vec<AttackReport>,
    /// Processor time of the attackers.
    pub attackers_cpu_us: u64,
    /// What changed for the good devices.
    pub effect: Effect,
    /// Good devices before.
    pub before: Phase,
    /// … meanwhile …
    pub during: Phase,
    /// … and afterwards.
    pub after: Phase,
}

/// One attack.
#[derive(Clone, Debug, Serialize)]
pub struct AttackReport {
    /// Which.
    pub kind: &'static str,
    /// Turns a second that it was to take: connections or messages.
    pub rate: u64,
    /// Connections at a time.
    pub connections: usize,
    /// Connections begun.
    pub begun: u64,
    /// … that came so far as to be connected, or through the handshake if they did one.
    pub connected: u64,
    /// Messages sent.
    pub messages: u64,
    /// Turns that could do nothing, as the pool let nothing in.
    pub idle_turns: u64,
    /// Messages received.
    pub received: u64,
    /// Connections that the pool ended, by what it said.
    pub ended: BTreeMap<String, u64>,
}

impl AttackReport {
    pub(crate) fn new(attack: &Attack, damage: &Damage) -> Self {
        Self {
            kind: attack.kind.name(),
            rate: attack.rate,
            connections: attack.connections,
            begun: damage.connections,
            connected: damage.handshakes,
            messages: damage.messages,
            idle_turns: damage.idle_turns,
            received: damage.received,
            ended: damage.ended.by_reason(),
        }
    }
}

/// Some seconds of the good devices.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// How long.
    pub elapsed_ms: u64,
    /// Their shares.
    pub shares: Shares,
    /// Good devices that were connected at the end of it.
    pub devices: usize,
    /// The pool's process, if it was observed; per share of the good devices. What it waited for a processor, the load
    /// generator and others on the machine took from it.
    pub server: Option<ServerCost>,
    /// The load generator's own process, attackers included.
    pub client: Option<ServerCost>,
    /// The pool's greatest resident memory.
    pub resident_max_bytes: Option<u64>,
}

/// Changes in thousandths of what was before: 100 is a tenth more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// Of acknowledged shares a second.
    pub rate_permille: i64,
    /// Of the time until half of the shares are acknowledged.
    pub ack_p50_permille: i64,
    /// … and 99 of 100.
    pub ack_p99_permille: i64,
    /// Which of these changed for the worse by more than a tenth.
    pub moved: Vec<&'static str>,
}

/// Changes beyond this are told.
const MOVED: i64 = 100;

impl Effect {
    pub(crate) fn new(before: &Shares, during: &Shares) -> Self {
        let rate_permille = permille(before.acknowledged_per_second, during.acknowledged_per_second);
        let latency = |of: fn(&Shares) -> Option<u64>| {
            // Without any answer there is no latency, but no rate either.
            permille(of(before).unwrap_or(0), of(during).unwrap_or(0))
        };
        let ack_p50_permille = latency(|shares| shares.ack_p50_us);
        let ack_p99_permille = latency(|shares| shares.ack_p99_us);
        let changes = [("rate", -rate_permille), ("p50", ack_p50_permille), ("p99", ack_p99_permille)];
        let moved = changes.into_iter().filter(|(_, worse)| *worse > MOVED).map(|(name, _)| name).collect();
        Self { rate_permille, ack_p50_permille, ack_p99_permille, moved }
    }
}

fn permille(before: u64, during: u64) -> i64 {
    let (before, during) = (i128::from(before), i128::from(during));
    let change = ((during - before) * 1000).checked_div(before).unwrap_or(0);
    i64::try_from(change).unwrap_or(i64::MAX)
}

/// `+1.5 %`.
struct Percent(i64);

impl Display for Percent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        write!(f, "{sign}{}.{} %", self.0.abs() / 10, self.0.abs() % 10)
    }
}

impl Display for Phase {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {} devices", self.shares, self.devices)?;
        if let Some(server) = &self.server {
            write!(f, "; server used {} in {}", us(server.cpu_us), us(self.elapsed_ms * 1000))?;
            write!(f, " and waited {} for a processor", us(server.wait_us))?;
        }
        if let Some(client) = &self.client {
            write!(f, "; client used {} and waited {}", us(client.cpu_us), us(client.wait_us))?;
        }
        self.resident_max_bytes.map_or(Ok(()), |bytes| write!(f, ", {} resident at most", Bytes(bytes)))
    }
}

impl Display for AttackReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { kind, rate, connections, begun, connected, messages, idle_turns, received, .. } = self;
        write!(f, "{kind} at {rate}/s on {connections}: {begun} connections begun, {connected} made, ")?;
        write!(f, "{messages} messages, {idle_turns} idle turns, {received} answers")?;
        self.ended.iter().try_for_each(|(why, count)| write!(f, "\n               {count} × {why}"))
    }
}

impl Display for Assault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.attacks.iter().try_for_each(|attack| write!(f, "\n  attack     {attack}"))?;
        write!(f, "\n  attackers  used {}", us(self.attackers_cpu_us))?;
        write!(
            f,
            "\n  before     {}\n  during     {}\n  after      {}",
            self.before, self.during, self.after
        )?;
        let Effect { rate_permille, ack_p50_permille, ack_p99_permille, moved } = &self.effect;
        write!(f, "\n  effect     rate {}, ", Percent(*rate_permille))?;
        write!(f, "p50 {}, p99 {}", Percent(*ack_p50_permille), Percent(*ack_p99_permille))?;
        if moved.is_empty() { Ok(()) } else { write!(f, "; moved: {}", moved.join(", ")) }
    }
}

impl Display for HostileReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "hostile      {}", self.client)?;
        write!(f, "  devices    {}, {} lost; {} shares/s wanted", self.set_up, self.devices_lost, self.rate)?;
        self.assaults.iter().try_for_each(|assault| write!(f, "{assault}"))?;
        troubles(f, &self.troubles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Tally;
    use std::time::Duration;

    fn shares(rate: u64, p50: u64, p99: u64) -> Shares {
        let mut shares = Shares::new(&Tally::default(), Duration::from_secs(1));
        (shares.acknowledged_per_second, shares.ack_p50_us, shares.ack_p99_us) = (rate, Some(p50), Some(p99));
        shares
    }

    #[test]
    fn what_gets_worse_by_more_than_a_tenth_is_told() {
        let before = shares(1000, 200, 1000);
        for (during, moved) in [
            (shares(1000, 200, 1000), vec![]),
            (shares(900, 220, 1100), vec![]),
            (shares(899, 200, 1000), vec!["rate"]),
            (shares(1200, 221, 1102), vec!["p50", "p99"]),
            (shares(0, 0, 0), vec!["rate"]),
        ] {
            assert_eq!(Effect::new(&before, &during).moved, moved, "{during:?}");
        }
        assert_eq!(Percent(-105).to_string(), "-10.5 %");
        assert_eq!(Percent(7).to_string(), "+0.7 %");
        assert_eq!(permille(0, 7), 0);
    }
}
