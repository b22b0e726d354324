//! Jobs to channels: every channel at a new block, one channel when its target changed.

use std::sync::Arc;

use engine::{Connections, Link};
use sv2::mining::{NewMiningJob, SetTarget};
use tracing::{debug, error};
use work::{Job, Kind, StoreError, Target};

use super::Shard;
use super::session::{Mining, OpenChannel, Session};
use crate::update::{WorkUpdate, activation};

/// Channels of one connection that get a new target in one tick, so that its output stays within its backlog.
const RETARGETS_PER_TICK: usize = 256;

impl Shard {
    /// Gives every channel the new work. The first connection's bytes leave before the second's are sealed.
    pub(super) fn distribute(&mut self, update: Arc<WorkUpdate>, conns: &mut Connections<'_, Self>) {
        self.bases.next_update(update.new_block);
        self.fresh = None;
        self.block_hashes = update.tip.network_target().expected_hashes();
        self.bases.add(&update);
        self.current = Arc::clone(&update);
        let mut sent = 0;
        conns.for_each(|session, link| {
            if let Session::Mining(mining) = session {
                sent += send_work(mining, &update, link);
            }
        });
        self.counts.jobs_sent += sent;
    }

    /// Puts a new channel onto the current work.
    pub(super) fn bootstrap(&mut self, channel: &mut OpenChannel, link: &mut Link<'_>) {
        self.counts.jobs_sent += 1;
        send_to_channel(channel, &self.current, true, link);
    }

    /// After the shard stood still and has read what was sent meanwhile: every channel is measured anew.
    pub(super) fn forget_pause(&mut self, conns: &mut Connections<'_, Self>) {
        let now = self.millis(conns.now());
        if self.pause.is_over(now) {
            conns.for_each(|session, _| {
                let Session::Mining(mining) = session else { return };
                for channel in mining.channels_mut() {
                    channel.work.restart_measuring(now);
                }
            });
        }
    }

    /// Vardiff, once a second. A channel whose target changed gets a fresh job, since the new target holds for jobs
    /// sent after it (MP-142, MP-146).
    pub(super) fn adjust_channels(&mut self, conns: &mut Connections<'_, Self>) {
        let now = self.millis(conns.now());
        conns.for_each(|session, link| {
            let Session::Mining(mining) = session else { return };
            let count = mining.channels().len();
            let mut retargeted = 0;
            for step in 0..count {
                let index = (mining.next_adjusted + step) % count;
                let channel = &mut mining.channels_mut()[index];
                if self.adjust(channel, link, now) {
                    retargeted += 1;
                } else if channel.wants_job {
                    self.give_fresh_job(channel, link);
                    retargeted += 1;
                }
                if retargeted == RETARGETS_PER_TICK {
                    mining.next_adjusted = index + 1;
                    break;
                }
            }
        });
    }

    /// Lets vardiff look at one channel; returns whether its target changed.
    pub(super) fn adjust(&mut self, channel: &mut OpenChannel, link: &mut Link<'_>, now: u64) -> bool {
        if self.pause.is_forgotten_later() {
            return false;
        }
        let Some(target) = channel.work.adjust(now) else { return false };
        // What it sends until the new target has taken effect is not its fault.
        channel.shares.refill();
        self.retarget(channel, target, link);
        true
    }

    /// Announces a channel's new target and the job that it holds for.
    pub(super) fn retarget(&mut self, channel: &mut OpenChannel, target: Target, link: &mut Link<'_>) {
        let maximum_target = target.to_le_bytes();
        link.send(&SetTarget { channel_id: channel.work.id(), maximum_target });
        self.give_fresh_job(channel, link);
    }

    /// A channel that has this second's job already gets the next one at the next tick.
    fn give_fresh_job(&mut self, channel: &mut OpenChannel, link: &mut Link<'_>) {
        channel.wants_job = true;
        let Some(update) = self.fresh_work(link.unix_now()) else { return };
        let sent = send_to_channel(channel, &update, false, link);
        channel.wants_job = !sent;
        self.counts.jobs_sent += u64::from(sent);
    }

    /// The current work under an id of its own; made at most once a second, so that channels which change their target
    /// together share it and none can ask for more.
    fn fresh_work(&mut self, unix_now: u32) -> Option<Arc<WorkUpdate>> {
        if let Some((second, update)) = &self.fresh
            && *second == unix_now
        {
            return Some(Arc::clone(update));
        }
        // The one of before is in use as far as channels have it.
        self.fresh = None;
        if !self.bases.make_room() {
            return None;
        }
        match self.current.reissue(self.job_ids.next(), &self.config.payout_script, &self.config.tag) {
            Ok(update) => {
                let update = Arc::new(update);
                self.bases.add(&update);
                self.fresh = Some((unix_now, Arc::clone(&update)));
                Some(update)
            }
            Err(error) => {
                error!(%error, "no fresh job for a new target");
                None
            }
        }
    }
}

/// Work for all channels of a connection; returns the number of job messages.
fn send_work(mining: &mut Mining, update: &WorkUpdate, link: &mut Link<'_>) -> u64 {
    if mining.channels().is_empty() {
        return 0;
    }
    if mining.standard_jobs_only {
        let mut sent = 0;
        for channel in mining.channels_mut() {
            send_to_channel(channel, update, update.new_block, link);
            sent += 1;
        }
        return sent;
    }
    let group_id = mining.group_id;
    for channel in mining.channels_mut() {
        if let Ok(Some(target)) = take_job(channel, update, update.new_block) {
            link.send(&SetTarget { channel_id: channel.work.id(), maximum_target: target.to_le_bytes() });
        }
    }
    for frame in update.extended_frames(update.new_block) {
        link.send_encoded(frame, Some(group_id));
    }
    1
}

/// Work for one channel, addressed to it. False if the channel has this very job already.
fn send_to_channel(
    channel: &mut OpenChannel,
    update: &WorkUpdate,
    as_future: bool,
    link: &mut Link<'_>,
) -> bool {
    let channel_id = channel.work.id();
    match take_job(channel, update, as_future) {
        Ok(None) => {}
        Ok(Some(target)) => link.send(&SetTarget { channel_id, maximum_target: target.to_le_bytes() }),
        Err(_) => return false,
    }
    match channel.work.kind() {
        Kind::Extended { .. } => {
            for frame in update.extended_frames(as_future) {
                link.send_encoded(frame, Some(channel_id));
            }
        }
        Kind::Standard => {
            let job: &Job = &update.job;
            let Some(merkle_root) = channel.work.merkle_root(job.id()) else { return false };
            link.send(&NewMiningJob {
                channel_id,
                job_id: job.id(),
                min_ntime: (!as_future).then_some(update.min_ntime),
                version: job.version(),
                merkle_root,
            });
            if as_future {
                link.send(&activation(job, &update.tip, channel_id));
            }
        }
    }
    channel.wants_job = false;
    true
}

/// Books the job in the channel before it is sent. Returns a target that must be announced before the job.
fn take_job(
    channel: &mut OpenChannel,
    update: &WorkUpdate,
    as_future: bool,
) -> Result<Option<Target>, StoreError> {
    let taken = if as_future {
        channel
            .work
            .add_future(&update.job)
            .and_then(|()| channel.work.activate(update.job.id(), &update.tip))
    } else {
        channel.work.add_active(&update.job, update.min_ntime).map(|()| None)
    };
    if let Err(error) = &taken {
        debug!(channel = channel.work.id(), %error, "job not given to a channel");
    }
    taken
}
