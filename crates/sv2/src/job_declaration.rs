//! The job declaration protocol: miners choose the transactions of their blocks (specification §6).

use crate::{
    codec::{B0_32, B0_64K, B0_255, Seq0_64K, Str0_255, Transaction, U256},
    error_code::ErrorCode,
    extensions::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess},
    message::CORE,
    setup::{ChannelEndpointChanged, Reconnect},
};

/// Codes of [`DeclareMiningJobError`] that are in use.
pub mod code {
    use crate::ErrorCode;

    type Code = ErrorCode<'static>;

    /// The token is unknown or expired (EC-36).
    pub const INVALID_MINING_JOB_TOKEN: Code = ErrorCode::from_static("invalid-mining-job-token");
    /// Transactions are still missing after they were asked for (EC-38).
    pub const MISSING_TXS: Code = ErrorCode::from_static("missing-txs");
    /// The coinbase transaction is wrong (EC-39).
    pub const INVALID_COINBASE_TX: Code = ErrorCode::from_static("invalid-coinbase-tx");
    /// The input of the coinbase transaction is wrong (EC-39).
    pub const INVALID_COINBASE_TX_INPUT: Code = ErrorCode::from_static("invalid-coinbase-tx-input");
    /// The job builds on an old tip (EC-40).
    pub const STALE_CHAIN_TIP: Code = ErrorCode::from_static("stale-chain-tip");
    /// The node rejects the block (EC-41).
    pub const INVALID_JOB: Code = ErrorCode::from_static("invalid-job");
    /// The server failed (EC-42).
    pub const INTERNAL_ERROR: Code = ErrorCode::from_static("internal-error");
}

message! {
    /// Asks for a token to mine with (MSG-28).
    #[wire(CORE, 0x50, "AllocateMiningJobToken", Client, false)]
    pub struct AllocateMiningJobToken<'a> {
        /// Who the work is for.
        pub user_identifier: Str0_255<'a>,
        /// Chosen by the client, echoed in the reply.
        pub request_id: u32,
    }
}

message! {
    /// A token, and the outputs that a job made with it must have (MSG-29).
    #[wire(CORE, 0x51, "AllocateMiningJobToken.Success", Server, false)]
    pub struct AllocateMiningJobTokenSuccess<'a> {
        /// Of the request.
        pub request_id: u32,
        /// The token.
        pub mining_job_token: B0_255<'a>,
        /// Outputs that the coinbase transaction must have, with their count in front (CH-16).
        pub coinbase_tx_outputs: B0_64K<'a>,
    }
}

message! {
    /// The server does not know some transactions of a declared job (MSG-30).
    #[wire(CORE, 0x55, "ProvideMissingTransactions", Server, false)]
    pub struct ProvideMissingTransactions<'a> {
        /// Of the `DeclareMiningJob` (CH-09).
        pub request_id: u32,
        /// Positions in its `wtxid_list`.
        pub unknown_tx_position_list: Seq0_64K<'a, u16>,
    }
}

message! {
    /// The transactions that the server asked for (MSG-31).
    #[wire(CORE, 0x56, "ProvideMissingTransactions.Success", Client, false)]
    pub struct ProvideMissingTransactionsSuccess<'a> {
        /// Of the request.
        pub request_id: u32,
        /// Raw transactions in the order in which they were asked for.
        pub transaction_list: Seq0_64K<'a, Transaction>,
    }
}

message! {
    /// Declares a job with all of its transactions (MSG-32).
    #[wire(CORE, 0x57, "DeclareMiningJob", Client, false)]
    pub struct DeclareMiningJob<'a> {
        /// Chosen by the client, echoed in the reply.
        pub request_id: u32,
        /// An allocated token.
        pub mining_job_token: B0_255<'a>,
        /// Version of the header.
        pub version: u32,
        /// Coinbase transaction before the extranonce, with witness data.
        pub coinbase_tx_prefix: B0_64K<'a>,
        /// Coinbase transaction after the extranonce, with witness data.
        pub coinbase_tx_suffix: B0_64K<'a>,
        /// Ids, with witness, of all transactions but the coinbase, in internal byte order.
        pub wtxid_list: Seq0_64K<'a, U256>,
        /// Whatever else validation needs; nothing is defined.
        pub excess_data: B0_64K<'a>,
    }
}

message! {
    /// A declared job may be mined (MSG-33).
    #[wire(CORE, 0x58, "DeclareMiningJob.Success", Server, false)]
    pub struct DeclareMiningJobSuccess<'a> {
        /// Of the request.
        pub request_id: u32,
        /// The token to use from now on.
        pub new_mining_job_token: B0_255<'a>,
    }
}

message! {
    /// A declared job was refused (MSG-34).
    #[wire(CORE, 0x59, "DeclareMiningJob.Error", Server, false)]
    pub struct DeclareMiningJobError<'a> {
        /// Of the request.
        pub request_id: u32,
        /// Why.
        pub error_code: ErrorCode<'a>,
        /// More about it, for people.
        pub error_details: B0_64K<'a>,
    }
}

message! {
    /// A block was found with a declared job (MSG-35).
    #[wire(CORE, 0x60, "PushSolution", Client, false)]
    pub struct PushSolution<'a> {
        /// The whole extranonce, prefix included.
        pub extranonce: B0_32<'a>,
        /// Hash of the block that it builds on, in internal byte order.
        pub prev_hash: U256,
        /// Nonce of the header.
        pub nonce: u32,
        /// Time of the header.
        pub ntime: u32,
        /// Compact target of the header.
        pub nbits: u32,
        /// Version of the header.
        pub version: u32,
    }
}

received! {
    /// What a client may send on a job declaration connection once it is set up.
    pub enum JobDeclarationFromClient<'a>, "a job declarator client's message" {
        AllocateMiningJobToken(AllocateMiningJobToken<'a>),
        DeclareMiningJob(DeclareMiningJob<'a>),
        ProvideMissingTransactionsSuccess(ProvideMissingTransactionsSuccess<'a>),
        PushSolution(PushSolution<'a>),
        RequestExtensions(RequestExtensions<'a>),
    }
}

received! {
    /// What a server may send on a job declaration connection once it is set up.
    pub enum JobDeclarationFromServer<'a>, "a job declarator server's message" {
        AllocateMiningJobTokenSuccess(AllocateMiningJobTokenSuccess<'a>),
        DeclareMiningJobSuccess(DeclareMiningJobSuccess<'a>),
        DeclareMiningJobError(DeclareMiningJobError<'a>),
        ProvideMissingTransactions(ProvideMissingTransactions<'a>),
        RequestExtensionsSuccess(RequestExtensionsSuccess<'a>),
        RequestExtensionsError(RequestExtensionsError<'a>),
        ChannelEndpointChanged(ChannelEndpointChanged),
        Reconnect(Reconnect<'a>),
    }
}
