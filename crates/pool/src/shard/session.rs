//! One connection: from SetupConnection to its open channels.

use sv2::extensions::ServerNegotiation;
use sv2::setup::MiningSetupFlags;
use work::{Bucket, Channel, PayoutKey};

use super::workers::WorkerKeys;
use crate::stats::Ending;

/// A connection's channels, by rising id. Boxed, so that closing one of thousands moves pointers only.
#[allow(clippy::vec_box)]
type Channels = Vec<Box<OpenChannel>>;

/// What a connection is about to do.
pub(crate) enum Session {
    /// Waits for SetupConnection.
    Fresh,
    /// Mines.
    Mining(Box<Mining>),
}

/// A connection whose set-up succeeded.
pub(crate) struct Mining {
    /// The client cannot process extended jobs, nor group messages (FL-01).
    pub standard_jobs_only: bool,
    /// Extension negotiation, and what it agreed on.
    pub extensions: ServerNegotiation,
    /// The one group of the connection: all full extranonces have one length (MP-21, MP-22).
    pub group_id: u32,
    /// The last channel id given out; ids are never given twice (MP-15).
    last_id: u32,
    channels: Channels,
    /// The payout keys of its workers, where a share named one.
    pub workers: Option<Box<WorkerKeys>>,
    /// The channel that vardiff looks at first in the next tick.
    pub next_adjusted: usize,
    /// Requests: everything but shares.
    pub requests: Bucket,
    /// What was refused on this connection and comes from none of its channels.
    pub refusals: Bucket,
    /// Refused shares of all channels.
    pub bad_shares: Bucket,
    /// Shares that crossed the end of their channel, beyond those that were answered.
    pub crossing: Bucket,
    /// Channels that were ended as floods.
    pub floods: Bucket,
}

/// A channel and who its shares are credited to.
pub(crate) struct OpenChannel {
    pub work: Channel,
    pub key: PayoutKey,
    /// Shares wait for a batch of credits.
    pub touched: bool,
    /// Accepted shares, since the target was last moved.
    pub shares: Bucket,
    /// Refused shares.
    pub refusals: Bucket,
    /// A target was announced, and the job that it holds for was not sent yet.
    pub wants_job: bool,
    /// Acknowledgement of the shares in the batch that is on its way to the disk.
    pub waiting: Option<work::Ack>,
    /// The server ends the channel as soon as its shares are acknowledged (MP-69).
    pub closing: Option<Ending>,
}

impl OpenChannel {
    /// A channel that was just opened and has no work yet.
    pub(super) fn new(work: Channel, key: PayoutKey) -> Self {
        Self {
            work,
            key,
            touched: false,
            shares: Bucket::default(),
            refusals: Bucket::default(),
            wants_job: false,
            waiting: None,
            closing: None,
        }
    }
}

impl Mining {
    /// No channel yet. The group's id is taken from the same numbers as those of channels (MP-14).
    pub(super) fn new(flags: MiningSetupFlags) -> Self {
        let group_id = 1;
        Self {
            standard_jobs_only: flags.contains(MiningSetupFlags::REQUIRES_STANDARD_JOBS),
            extensions: ServerNegotiation::default(),
            group_id,
            last_id: group_id,
            channels: Vec::new(),
            workers: None,
            next_adjusted: 0,
            requests: Bucket::default(),
            refusals: Bucket::default(),
            bad_shares: Bucket::default(),
            crossing: Bucket::default(),
            floods: Bucket::default(),
        }
    }

    pub(super) fn channels(&self) -> &[Box<OpenChannel>] {
        &self.channels
    }

    pub(super) fn channels_mut(&mut self) -> &mut [Box<OpenChannel>] {
        &mut self.channels
    }

    /// An id that was never used on this connection; `None` after 2^32 channels (MP-13, MP-15).
    pub(super) fn next_channel_id(&mut self) -> Option<u32> {
        self.last_id = self.last_id.checked_add(1)?;
        Some(self.last_id)
    }

    /// Whether this was a channel of the connection, or is one.
    pub(super) fn knew_channel(&self, id: u32) -> bool {
        id > self.group_id && id <= self.last_id
    }

    /// `channel` has the id that [`Self::next_channel_id`] gave last.
    pub(super) fn open(&mut self, channel: OpenChannel) -> &mut OpenChannel {
        debug_assert!(self.channels.last().is_none_or(|last| last.work.id() < channel.work.id()));
        self.channels.push(Box::new(channel));
        self.channels.last_mut().expect("a channel was just added")
    }

    pub(super) fn channel(&mut self, id: u32) -> Option<&mut OpenChannel> {
        let index = self.index(id)?;
        Some(&mut self.channels[index])
    }

    /// An open channel that the server is not about to close.
    pub(super) fn channel_taking_shares(&mut self, id: u32) -> Option<&mut OpenChannel> {
        self.channel(id).filter(|channel| channel.closing.is_none())
    }

    pub(super) fn close(&mut self, id: u32) -> Option<Box<OpenChannel>> {
        Some(self.channels.remove(self.index(id)?))
    }

    pub(super) fn close_all(&mut self) -> Channels {
        std::mem::take(&mut self.channels)
    }

    /// Most connections have one channel, so the search is over before it begins.
    fn index(&self, id: u32) -> Option<usize> {
        self.channels.binary_search_by_key(&id, |channel| channel.work.id()).ok()
    }
}
