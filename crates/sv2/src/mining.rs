//! The mining protocol: channels, jobs, shares (specification §5).

pub mod code;

use crate::{
    codec::{B0_32, B0_64K, B0_255, F32, Seq0_64K, Seq0_255, Str0_255, U256},
    error_code::ErrorCode,
    extensions::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess},
    message::CORE,
    setup::{ChannelEndpointChanged, Reconnect},
};

message! {
    /// Asks for a standard channel (MSG-06).
    #[wire(CORE, 0x10, "OpenStandardMiningChannel", Client, false)]
    pub struct OpenStandardMiningChannel<'a> {
        /// Chosen by the client, echoed in the reply.
        pub request_id: u32,
        /// Who the work is for.
        pub user_identity: Str0_255<'a>,
        /// Expected hash rate in hashes per second.
        pub nominal_hash_rate: F32,
        /// The easiest target that the client accepts.
        pub max_target: U256,
    }
}

message! {
    /// A standard channel is open (MSG-07).
    #[wire(CORE, 0x11, "OpenStandardMiningChannel.Success", Server, false)]
    pub struct OpenStandardMiningChannelSuccess<'a> {
        /// Of the request.
        pub request_id: u32,
        /// Id of the new channel on this connection.
        pub channel_id: u32,
        /// First target of the channel.
        pub target: U256,
        /// The channel's whole extranonce.
        pub extranonce_prefix: B0_32<'a>,
        /// The group that the channel belongs to.
        pub group_channel_id: u32,
    }
}

message! {
    /// A channel of either kind cannot be opened (MSG-08).
    #[wire(CORE, 0x12, "OpenMiningChannel.Error", Server, false)]
    pub struct OpenMiningChannelError<'a> {
        /// Of the request.
        pub request_id: u32,
        /// Why.
        pub error_code: ErrorCode<'a>,
    }
}

message! {
    /// Asks for an extended channel (MSG-09).
    #[wire(CORE, 0x13, "OpenExtendedMiningChannel", Client, false)]
    pub struct OpenExtendedMiningChannel<'a> {
        /// Chosen by the client, echoed in the reply.
        pub request_id: u32,
        /// Who the work is for.
        pub user_identity: Str0_255<'a>,
        /// Expected hash rate in hashes per second.
        pub nominal_hash_rate: F32,
        /// The easiest target that the client accepts.
        pub max_target: U256,
        /// Bytes of extranonce that the client needs for itself.
        pub min_extranonce_size: u16,
    }
}

message! {
    /// An extended channel is open (MSG-10).
    #[wire(CORE, 0x14, "OpenExtendedMiningChannel.Success", Server, false)]
    pub struct OpenExtendedMiningChannelSuccess<'a> {
        /// Of the request.
        pub request_id: u32,
        /// Id of the new channel on this connection.
        pub channel_id: u32,
        /// First target of the channel.
        pub target: U256,
        /// Bytes of extranonce that the client may vary.
        pub extranonce_size: u16,
        /// The bytes of extranonce before them.
        pub extranonce_prefix: B0_32<'a>,
        /// The group that the channel belongs to.
        pub group_channel_id: u32,
    }
}

message! {
    /// A job for a standard channel (MSG-11).
    #[wire(CORE, 0x15, "NewMiningJob", Server, true)]
    pub struct NewMiningJob {
        /// The channel.
        pub channel_id: u32,
        /// Id of the job on this channel.
        pub job_id: u32,
        /// Smallest `ntime`; absent for a future job, which waits for `SetNewPrevHash`.
        pub min_ntime: Option<u32>,
        /// Version of the header.
        pub version: u32,
        /// Merkle root of the header, in internal byte order.
        pub merkle_root: U256,
    }
}

message! {
    /// Tells the server that a channel's hash rate or target bound changed (MSG-12).
    #[wire(CORE, 0x16, "UpdateChannel", Client, true)]
    pub struct UpdateChannel {
        /// The channel.
        pub channel_id: u32,
        /// Expected hash rate in hashes per second.
        pub nominal_hash_rate: F32,
        /// The easiest target that the client accepts.
        pub maximum_target: U256,
    }
}

message! {
    /// An update cannot be honoured (MSG-13).
    #[wire(CORE, 0x17, "UpdateChannel.Error", Server, true)]
    pub struct UpdateChannelError<'a> {
        /// The channel.
        pub channel_id: u32,
        /// Why.
        pub error_code: ErrorCode<'a>,
    }
}

message! {
    /// Ends a channel, or every channel of a group (MSG-14).
    #[wire(CORE, 0x18, "CloseChannel", Both, true)]
    pub struct CloseChannel<'a> {
        /// The channel or group.
        pub channel_id: u32,
        /// Why (ER-07).
        pub reason_code: ErrorCode<'a>,
    }
}

message! {
    /// Changes the extranonce prefix for jobs sent from now on (MSG-15).
    #[wire(CORE, 0x19, "SetExtranoncePrefix", Server, true)]
    pub struct SetExtranoncePrefix<'a> {
        /// The channel.
        pub channel_id: u32,
        /// The new prefix.
        pub extranonce_prefix: B0_32<'a>,
    }
}

message! {
    /// A share found on a standard channel (MSG-16).
    #[wire(CORE, 0x1a, "SubmitSharesStandard", Client, true)]
    pub struct SubmitSharesStandard {
        /// The channel.
        pub channel_id: u32,
        /// Counts the channel's submissions.
        pub sequence_number: u32,
        /// The job.
        pub job_id: u32,
        /// Nonce of the header.
        pub nonce: u32,
        /// Time of the header.
        pub ntime: u32,
        /// Version of the header.
        pub version: u32,
    }
}

message! {
    /// A share found on an extended channel (MSG-17). TLVs may follow, see [`crate::extensions`].
    #[wire(CORE, 0x1b, "SubmitSharesExtended", Client, true)]
    pub struct SubmitSharesExtended<'a> {
        /// The channel.
        pub channel_id: u32,
        /// Counts the channel's submissions.
        pub sequence_number: u32,
        /// The job.
        pub job_id: u32,
        /// Nonce of the header.
        pub nonce: u32,
        /// Time of the header.
        pub ntime: u32,
        /// Version of the header.
        pub version: u32,
        /// What follows the extranonce prefix: exactly as many bytes as were granted.
        pub extranonce: B0_32<'a>,
    }
}

message! {
    /// A batch of shares was accepted (MSG-18). Both counters restart with every batch.
    #[wire(CORE, 0x1c, "SubmitShares.Success", Server, true)]
    pub struct SubmitSharesSuccess {
        /// The channel.
        pub channel_id: u32,
        /// Greatest sequence number in the batch.
        pub last_sequence_number: u32,
        /// Shares in the batch.
        pub new_submits_accepted_count: u32,
        /// Sum of the difficulties of the shares in the batch.
        pub new_shares_sum: u64,
    }
}

message! {
    /// A share was rejected (MSG-19).
    #[wire(CORE, 0x1d, "SubmitShares.Error", Server, true)]
    pub struct SubmitSharesError<'a> {
        /// The channel.
        pub channel_id: u32,
        /// Of the submission.
        pub sequence_number: u32,
        /// Why.
        pub error_code: ErrorCode<'a>,
    }
}

message! {
    /// A job for an extended channel or a group (MSG-21).
    #[wire(CORE, 0x1f, "NewExtendedMiningJob", Server, true)]
    pub struct NewExtendedMiningJob<'a> {
        /// The channel or group.
        pub channel_id: u32,
        /// Id of the job on this channel.
        pub job_id: u32,
        /// Smallest `ntime`; absent for a future job, which waits for `SetNewPrevHash`.
        pub min_ntime: Option<u32>,
        /// Version of the header.
        pub version: u32,
        /// Whether the client may change the version's general-purpose bits.
        pub version_rolling_allowed: bool,
        /// Hashes from the coinbase transaction up to the root.
        pub merkle_path: Seq0_255<'a, U256>,
        /// Coinbase transaction before the extranonce, without witness data.
        pub coinbase_tx_prefix: B0_64K<'a>,
        /// Coinbase transaction after the extranonce, without witness data.
        pub coinbase_tx_suffix: B0_64K<'a>,
    }
}

message! {
    /// A new block to build on: activates one future job and ends all other work (MSG-22).
    #[wire(CORE, 0x20, "SetNewPrevHash", Server, true)]
    pub struct SetNewPrevHash {
        /// The channel or group.
        pub channel_id: u32,
        /// The future job that becomes active.
        pub job_id: u32,
        /// Hash of the block to build on, in internal byte order.
        pub prev_hash: U256,
        /// Smallest `ntime`.
        pub min_ntime: u32,
        /// Compact target of the network.
        pub nbits: u32,
    }
}

message! {
    /// Changes the target for jobs sent from now on (MSG-23).
    #[wire(CORE, 0x21, "SetTarget", Server, true)]
    pub struct SetTarget {
        /// The channel or group.
        pub channel_id: u32,
        /// The easiest hash that counts as a share.
        pub maximum_target: U256,
    }
}

message! {
    /// Asks the pool to accept a job that the client made (MSG-24).
    #[wire(CORE, 0x22, "SetCustomMiningJob", Client, true)]
    pub struct SetCustomMiningJob<'a> {
        /// The extended channel or group.
        pub channel_id: u32,
        /// Chosen by the client, echoed in the reply.
        pub request_id: u32,
        /// What the job declarator server gave for the job.
        pub mining_job_token: B0_255<'a>,
        /// Version of the header.
        pub version: u32,
        /// Hash of the block to build on, in internal byte order.
        pub prev_hash: U256,
        /// Smallest `ntime`.
        pub min_ntime: u32,
        /// Compact target of the network.
        pub nbits: u32,
        /// Version of the coinbase transaction.
        pub coinbase_tx_version: u32,
        /// What the coinbase input's script begins with.
        pub coinbase_prefix: B0_255<'a>,
        /// Sequence of the coinbase input.
        pub coinbase_tx_input_n_sequence: u32,
        /// Outputs of the coinbase transaction, with their count in front (CH-16).
        pub coinbase_tx_outputs: B0_64K<'a>,
        /// Lock time of the coinbase transaction.
        pub coinbase_tx_locktime: u32,
        /// Hashes from the coinbase transaction up to the root.
        pub merkle_path: Seq0_255<'a, U256>,
    }
}

message! {
    /// A custom job was accepted (MSG-25).
    #[wire(CORE, 0x23, "SetCustomMiningJob.Success", Server, true)]
    pub struct SetCustomMiningJobSuccess {
        /// The channel.
        pub channel_id: u32,
        /// Of the request.
        pub request_id: u32,
        /// The id under which shares are submitted.
        pub job_id: u32,
    }
}

message! {
    /// A custom job was refused (MSG-26).
    #[wire(CORE, 0x24, "SetCustomMiningJob.Error", Server, true)]
    pub struct SetCustomMiningJobError<'a> {
        /// The channel.
        pub channel_id: u32,
        /// Of the request.
        pub request_id: u32,
        /// Why.
        pub error_code: ErrorCode<'a>,
    }
}

message! {
    /// Puts channels into a group, by which they are addressed together (MSG-27).
    #[wire(CORE, 0x25, "SetGroupChannel", Server, false)]
    pub struct SetGroupChannel<'a> {
        /// The group.
        pub group_channel_id: u32,
        /// Its new members.
        pub channel_ids: Seq0_64K<'a, u32>,
    }
}

received! {
    /// What a client may send on a mining connection once it is set up.
    pub enum MiningFromClient<'a>, "a mining client's message" {
        SubmitSharesStandard(SubmitSharesStandard),
        SubmitSharesExtended(SubmitSharesExtended<'a>),
        OpenStandardMiningChannel(OpenStandardMiningChannel<'a>),
        OpenExtendedMiningChannel(OpenExtendedMiningChannel<'a>),
        UpdateChannel(UpdateChannel),
        CloseChannel(CloseChannel<'a>),
        SetCustomMiningJob(SetCustomMiningJob<'a>),
        RequestExtensions(RequestExtensions<'a>),
    }
}

received! {
    /// What a server may send on a mining connection once it is set up.
    pub enum MiningFromServer<'a>, "a mining server's message" {
        SubmitSharesSuccess(SubmitSharesSuccess),
        SubmitSharesError(SubmitSharesError<'a>),
        NewMiningJob(NewMiningJob),
        NewExtendedMiningJob(NewExtendedMiningJob<'a>),
        SetNewPrevHash(SetNewPrevHash),
        SetTarget(SetTarget),
        OpenStandardMiningChannelSuccess(OpenStandardMiningChannelSuccess<'a>),
        OpenExtendedMiningChannelSuccess(OpenExtendedMiningChannelSuccess<'a>),
        OpenMiningChannelError(OpenMiningChannelError<'a>),
        UpdateChannelError(UpdateChannelError<'a>),
        CloseChannel(CloseChannel<'a>),
        SetExtranoncePrefix(SetExtranoncePrefix<'a>),
        SetCustomMiningJobSuccess(SetCustomMiningJobSuccess),
        SetCustomMiningJobError(SetCustomMiningJobError<'a>),
        SetGroupChannel(SetGroupChannel<'a>),
        RequestExtensionsSuccess(RequestExtensionsSuccess<'a>),
        RequestExtensionsError(RequestExtensionsError<'a>),
        ChannelEndpointChanged(ChannelEndpointChanged),
        Reconnect(Reconnect<'a>),
    }
}
