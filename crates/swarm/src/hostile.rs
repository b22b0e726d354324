//! A hostile crowd beside good devices: what do the good ones notice of it?

mod attack;
mod attacker;
mod mob;

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

pub use attack::{Attack, AttackError, AttackKind};
pub(crate) use mob::Damage;
use mob::{Mob, MobReport};

use crate::crowd::Crowd;
use crate::plan::{Fleet, HostilePlan, PlanError, ThroughputPlan};
use crate::report::{Assault, Client, Effect, HostileReport, Observed, Phase, Shares, millis};
use crate::run::RunOrder;
use crate::throughput::{stock_up, wait_for_run};
use crate::worker::{Order, nobody};
use crate::{Stopped, SwarmError, process};

/// Unanswered shares of a good device: more than it ever has when it is served.
const WINDOW: u32 = 4096;
/// An attack is under way before its effect is measured.
const RAMP: Duration = Duration::from_secs(1);
/// How often the pool's memory is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Lets good devices submit shares at a steady rate, and measures what changes for them while attackers are at work:
/// all attacks together, or one after the other with calm between.
///
/// # Errors
/// When the plan does not work, the pool is neither on this machine nor in this network nor said to be the owner's, or
/// no good device can connect.
pub fn hostile(fleet: &Fleet, plan: &HostilePlan, stopped: Stopped<'_>) -> Result<HostileReport, SwarmError> {
    plan.check(fleet)?;
    Observed::begin(fleet.server_pid)?;
    let crowd = Crowd::start(fleet, true)?;
    if !plan.yes_it_is_mine && !is_near(crowd.address.ip()) {
        return Err(PlanError::NotMine(crowd.address.ip()).into());
    }
    let set_up = crowd.connect(fleet.channels, stopped)?;
    let groups: Vec<&[Attack]> = match plan.separately {
        true => plan.attacks.chunks(1).collect(),
        false => vec![&plan.attacks],
    };
    prepare(&crowd, plan, groups.len(), stopped)?;
    let from = attackers_addresses(plan, crowd.address);
    let mut calm = measure(&crowd, plan, plan.calm, stopped)?;
    let mut assaults = Vec::new();
    for attacks in groups {
        if stopped() {
            break;
        }
        let mob = Mob::start(fleet, attacks, &from, nobody(), crowd.address)?;
        std::thread::sleep(RAMP.min(plan.run));
        let during = measure(&crowd, plan, plan.run, stopped)?;
        let mob = mob.stop();
        std::thread::sleep(RAMP.min(plan.run));
        let after = measure(&crowd, plan, plan.calm, stopped)?;
        assaults.push(assault(mob, std::mem::replace(&mut calm, after.clone()), during, after));
    }
    let devices = crowd.board.books().ready;
    Ok(HostileReport {
        mode: "hostile",
        client: Client::new(fleet),
        rate: plan.rate,
        set_up,
        devices_lost: fleet.connections.saturating_sub(devices),
        assaults,
        troubles: crowd.troubles(),
    })
}

/// Addresses at which nobody else's pool is met by accident.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// On this machine's loopback, addresses that are not the good devices': limits for each address are to be seen.
fn attackers_addresses(plan: &HostilePlan, pool: SocketAddr) -> Vec<IpAddr> {
    match pool.ip() {
        IpAddr::V4(v4) if v4.is_loopback() && plan.from.is_empty() => {
            (1..=8).map(|last| IpAddr::from([127, 66, 0, last])).collect()
        }
        _ => plan.from.clone(),
    }
}

/// Finds the good devices' shares beforehand, so that finding them takes no processor from anybody in the measurement.
/// What a new block makes worthless is found when it is needed.
fn prepare(crowd: &Crowd, plan: &HostilePlan, rounds: usize, stopped: Stopped<'_>) -> Result<(), SwarmError> {
    let measured = plan.calm + (plan.run + plan.calm) * u32::try_from(rounds).unwrap_or(u32::MAX);
    let shares = plan.rate.saturating_mul(measured.as_secs() + 1).max(1);
    let plan = ThroughputPlan { shares: Some(shares), ..ThroughputPlan::default() };
    match stock_up(crowd, &plan, stopped) {
        Ok(_) | Err(SwarmError::HardShares { .. } | SwarmError::RestlessTip) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What the good devices get in so much time.
fn measure(
    crowd: &Crowd,
    plan: &HostilePlan,
    time: Duration,
    stopped: Stopped<'_>,
) -> Result<Phase, SwarmError> {
    let fleet = &*crowd.fleet;
    crowd.board.books().tallies.clear();
    let observed = Observed::begin(fleet.server_pid)?;
    let own = Observed::begin(fleet.server_pid.map(|_| std::process::id()))?;
    let started = Instant::now();
    let order = RunOrder {
        started,
        until: started + time,
        window: WINDOW,
        millirate: Some(plan.rate.saturating_mul(1000) / fleet.threads as u64),
        endless: true,
        turnover: None,
    };
    crowd.order(|_| Order::Run(order.clone()))?;
    let (next, most) = (Cell::new(started), Cell::new(0));
    let look = || {
        if let Some(pid) = fleet.server_pid.filter(|_| Instant::now() >= next.get()) {
            next.set(Instant::now() + LOOK);
            most.set(most.get().max(process::resident_bytes(pid).unwrap_or(0)));
        }
        stopped()
    };
    let tally = wait_for_run(crowd, &look)?;
    let elapsed = tally.last_answer.map_or(time, |last| last.saturating_duration_since(started));
    Ok(Phase {
        elapsed_ms: millis(elapsed),
        shares: Shares::new(&tally, elapsed),
        devices: crowd.board.books().ready,
        client: own.map(|own| own.end(tally.acknowledged)).transpose()?,
        server: observed.map(|observed| observed.end(tally.acknowledged)).transpose()?,
        resident_max_bytes: fleet.server_pid.map(|_| most.get()),
    })
}

fn assault(mob: MobReport, before: Phase, during: Phase, after: Phase) -> Assault {
    let MobReport { damages, cpu } = mob;
    Assault {
        attacks: damages
            .iter()
            .map(|(attack, damage)| crate::report::AttackReport::new(attack, damage))
            .collect(),
        attackers_cpu_us: crate::report::micros(cpu),
        effect: Effect::new(&before.shares, &during.shares),
        before,
        during,
        after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_attacked_without_being_asked() {
        for (address, near) in [
            ("127.0.0.1", true),
            ("127.66.0.3", true),
            ("10.1.2.3", true),
            ("192.168.0.9", true),
            ("172.20.0.1", true),
            ("169.254.1.1", true),
            ("::1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("::ffff:127.0.0.1", true),
            ("8.8.8.8", false),
            ("100.64.0.1", false),
            ("172.32.0.1", false),
            ("2001:db8::1", false),
            ("::ffff:8.8.8.8", false),
        ] {
            assert_eq!(is_near(address.parse().unwrap()), near, "{address}");
        }
    }
}
