//! The template distribution protocol: a node hands out what to mine on (specification §7).

use crate::{
    codec::{B0_64K, B0_255, Seq0_64K, Seq0_255, Transaction, U256},
    error_code::ErrorCode,
    extensions::{RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess},
    message::CORE,
    setup::{ChannelEndpointChanged, Reconnect},
};

/// Codes of [`RequestTransactionDataError`] that are in use.
pub mod code {
    use crate::ErrorCode;

    /// No template ever had this id (EC-43).
    pub const TEMPLATE_ID_NOT_FOUND: ErrorCode<'static> = ErrorCode::from_static("template-id-not-found");
    /// The template is no longer kept (EC-44).
    pub const STALE_TEMPLATE_ID: ErrorCode<'static> = ErrorCode::from_static("stale-template-id");
}

message! {
    /// How much room a template must leave for the client's coinbase outputs (MSG-36).
    #[wire(CORE, 0x70, "CoinbaseOutputConstraints", Client, false)]
    pub struct CoinbaseOutputConstraints {
        /// Bytes of all outputs that the client adds.
        pub coinbase_output_max_additional_size: u32,
        /// Signature operations of all outputs that the client adds.
        pub coinbase_output_max_additional_sigops: u16,
    }
}

message! {
    /// A template (MSG-37).
    #[wire(CORE, 0x71, "NewTemplate", Server, false)]
    pub struct NewTemplate<'a> {
        /// The server's id of the template.
        pub template_id: u64,
        /// Whether it waits for a `SetNewPrevHash`.
        pub future_template: bool,
        /// Version of the header.
        pub version: u32,
        /// Version of the coinbase transaction.
        pub coinbase_tx_version: u32,
        /// What the coinbase input's script begins with.
        pub coinbase_prefix: B0_255<'a>,
        /// Sequence of the coinbase input.
        pub coinbase_tx_input_sequence: u32,
        /// Satoshis that the client may pay out.
        pub coinbase_tx_value_remaining: u64,
        /// Number of outputs in the next field.
        pub coinbase_tx_outputs_count: u32,
        /// Outputs that must come last, without a count in front (CH-16).
        pub coinbase_tx_outputs: B0_64K<'a>,
        /// Lock time of the coinbase transaction.
        pub coinbase_tx_locktime: u32,
        /// Hashes from the coinbase transaction up to the root.
        pub merkle_path: Seq0_255<'a, U256>,
    }
}

message! {
    /// A new block to build on, and the future template to use (MSG-38).
    #[wire(CORE, 0x72, "SetNewPrevHash (template distribution)", Server, false)]
    pub struct SetNewPrevHash {
        /// The template.
        pub template_id: u64,
        /// Hash of the block to build on, in internal byte order.
        pub prev_hash: U256,
        /// Time to start from.
        pub header_timestamp: u32,
        /// Compact target of the header.
        pub n_bits: u32,
        /// The greatest hash that the server takes for a block.
        pub target: U256,
    }
}

message! {
    /// Asks for a template's transactions (MSG-39).
    #[wire(CORE, 0x73, "RequestTransactionData", Client, false)]
    pub struct RequestTransactionData {
        /// The template.
        pub template_id: u64,
    }
}

message! {
    /// A template's transactions (MSG-40).
    #[wire(CORE, 0x74, "RequestTransactionData.Success", Server, false)]
    pub struct RequestTransactionDataSuccess<'a> {
        /// The template.
        pub template_id: u64,
        /// Whatever else validation needs; nothing is defined.
        pub excess_data: B0_64K<'a>,
        /// Raw transactions in block order without the coinbase.
        pub transaction_list: Seq0_64K<'a, Transaction>,
    }
}

message! {
    /// A template's transactions are not to be had (MSG-41).
    #[wire(CORE, 0x75, "RequestTransactionData.Error", Server, false)]
    pub struct RequestTransactionDataError<'a> {
        /// The template.
        pub template_id: u64,
        /// Why.
        pub error_code: ErrorCode<'a>,
    }
}

message! {
    /// A block was found with a template (MSG-42).
    #[wire(CORE, 0x76, "SubmitSolution", Client, false)]
    pub struct SubmitSolution<'a> {
        /// The template.
        pub template_id: u64,
        /// Version of the header.
        pub version: u32,
        /// Time of the header.
        pub header_timestamp: u32,
        /// Nonce of the header.
        pub header_nonce: u32,
        /// The whole coinbase transaction, with witness data.
        pub coinbase_tx: B0_64K<'a>,
    }
}

received! {
    /// What a client may send on a template distribution connection once it is set up.
    pub enum TemplateDistributionFromClient<'a>, "a template client's message" {
        CoinbaseOutputConstraints(CoinbaseOutputConstraints),
        RequestTransactionData(RequestTransactionData),
        SubmitSolution(SubmitSolution<'a>),
        RequestExtensions(RequestExtensions<'a>),
    }
}

received! {
    /// What a server may send on a template distribution connection once it is set up.
    pub enum TemplateDistributionFromServer<'a>, "a template provider's message" {
        NewTemplate(NewTemplate<'a>),
        SetNewPrevHash(SetNewPrevHash),
        RequestTransactionDataSuccess(RequestTransactionDataSuccess<'a>),
        RequestTransactionDataError(RequestTransactionDataError<'a>),
        RequestExtensionsSuccess(RequestExtensionsSuccess<'a>),
        RequestExtensionsError(RequestExtensionsError<'a>),
        ChannelEndpointChanged(ChannelEndpointChanged),
        Reconnect(Reconnect<'a>),
    }
}
