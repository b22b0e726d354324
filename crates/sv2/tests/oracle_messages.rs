//! Every message against the reference implementation: the same values give the same bytes, and each
//! side reads what the other wrote.

#[macro_use]
mod rows;

use {
    assay_sv2::{
        ErrorCode, Message, codec::*, extensions, job_declaration, mining, setup, template_distribution,
    },
    binary_sv2::{B016M, B032, B064K, B0255, Seq064K, Seq0255, Sv2Option},
    rows::for_each,
};

/// A value of ours as the reference implementation has it.
trait Theirs<'s, T> {
    fn theirs(&'s self) -> T;
}

macro_rules! same {
    ($($ty:ty),+) => {$(
        impl Theirs<'_, $ty> for $ty {
            fn theirs(&self) -> $ty {
                *self
            }
        }
    )+};
}

same!(u16, u32, u64, bool);

impl Theirs<'_, f32> for F32 {
    fn theirs(&self) -> f32 {
        f32::from_bits(self.to_bits())
    }
}

impl<'s> Theirs<'s, binary_sv2::U256<'s>> for U256 {
    fn theirs(&'s self) -> binary_sv2::U256<'s> {
        self.into()
    }
}

impl<'s> Theirs<'s, Sv2Option<'s, u32>> for Option<u32> {
    fn theirs(&'s self) -> Sv2Option<'s, u32> {
        Sv2Option::new(*self)
    }
}

macro_rules! bytes {
    ($($ours:ty => $theirs:ty: $as_bytes:ident),+) => {$(
        impl<'s> Theirs<'s, $theirs> for $ours {
            fn theirs(&'s self) -> $theirs {
                <$theirs>::new(self.$as_bytes()).unwrap()
            }
        }
    )+};
}

bytes!(
    B0_32<'static> => B032<'s>: as_slice,
    B0_255<'static> => B0255<'s>: as_slice,
    B0_64K<'static> => B064K<'s>: as_slice,
    Str0_255<'static> => B0255<'s>: as_bytes,
    ErrorCode<'static> => B0255<'s>: as_bytes
);

impl<'s> Theirs<'s, Seq0255<'s, binary_sv2::U256<'s>>> for Seq0_255<'static, U256> {
    fn theirs(&'s self) -> Seq0255<'s, binary_sv2::U256<'s>> {
        Seq0255::new(self.iter().map(leak).collect()).unwrap()
    }
}

impl<'s> Theirs<'s, Seq064K<'s, binary_sv2::U256<'s>>> for Seq0_64K<'static, U256> {
    fn theirs(&'s self) -> Seq064K<'s, binary_sv2::U256<'s>> {
        Seq064K::new(self.iter().map(leak).collect()).unwrap()
    }
}

/// Their hashes borrow, ours are read by value.
fn leak(hash: U256) -> binary_sv2::U256<'static> {
    let hash: &'static U256 = Box::leak(Box::new(hash));
    hash.into()
}

impl<'s> Theirs<'s, Seq064K<'s, u32>> for Seq0_64K<'static, u32> {
    fn theirs(&'s self) -> Seq064K<'s, u32> {
        Seq064K::new(self.iter().collect()).unwrap()
    }
}

impl<'s> Theirs<'s, Seq064K<'s, u16>> for Seq0_64K<'static, u16> {
    fn theirs(&'s self) -> Seq064K<'s, u16> {
        Seq064K::new(self.iter().collect()).unwrap()
    }
}

impl<'s> Theirs<'s, Seq064K<'s, B016M<'s>>> for Seq0_64K<'static, Transaction> {
    fn theirs(&'s self) -> Seq064K<'s, B016M<'s>> {
        Seq064K::new(self.iter().map(|transaction| B016M::new(transaction).unwrap()).collect()).unwrap()
    }
}

/// Both encode to the same bytes, and each decodes them to what it encoded.
macro_rules! assert_same_wire {
    ($ours:ty: $message:expr, $theirs:ty: $their_message:expr) => {{
        let theirs: $theirs = $their_message;
        let mut our_bytes = Vec::new();
        $message.encode_payload(&mut our_bytes);
        let their_bytes = binary_sv2::to_bytes(theirs.clone()).unwrap();
        assert_eq!(our_bytes, their_bytes);
        assert_eq!(<$ours>::decode(&their_bytes).unwrap(), $message);
        let read_by_them = binary_sv2::from_bytes::<$theirs>(&mut our_bytes).unwrap();
        // Not all of their messages can be compared, but all can be printed.
        assert_eq!(format!("{read_by_them:?}"), format!("{theirs:?}"));
    }};
}

// proves: ENC-01 ENC-07 ENC-09 ENC-10 ENC-11 ENC-17
#[test]
fn every_message_is_the_same_on_the_wire() {
    macro_rules! row {
        (
            $extension:literal $ty:literal $bit:literal $sender:ident $protocol:expr,
            $module:ident::$name:ident = by_hand { $($field:ident),+ } $fixed:literal [$($variable:ident),*]
        ) => {};
        (
            $extension:literal $ty:literal $bit:literal $sender:ident $protocol:expr,
            $module:ident::$name:ident = $sri:ident::$sri_name:ident { $($field:ident),+ }
            $fixed:literal [$($variable:ident),*]
        ) => {
            for_each(messages_of!($module::$name { $($field),+ }), |message| {
                assert_same_wire!(
                    $module::$name: message,
                    $sri::$sri_name: $sri::$sri_name { $($field: message.$field.theirs()),+ }
                );
            });
        };
    }
    every_message!(row);
}

#[test]
fn setup_connection_is_the_same_on_the_wire() {
    let messages = messages_of!(setup::SetupConnection {
        protocol,
        min_version,
        max_version,
        flags,
        endpoint_host,
        endpoint_port,
        vendor,
        hardware_version,
        firmware,
        device_id
    });
    for_each(messages, |mut message| {
        // Theirs refuses protocols that it does not know, where a server has to reply (CM-08).
        message.protocol %= 3;
        let protocol = common_messages_sv2::Protocol::try_from(message.protocol).unwrap();
        assert_same_wire!(
            setup::SetupConnection: message,
            common_messages_sv2::SetupConnection: common_messages_sv2::SetupConnection {
                protocol,
                min_version: message.min_version,
                max_version: message.max_version,
                flags: message.flags,
                endpoint_host: message.endpoint_host.theirs(),
                endpoint_port: message.endpoint_port,
                vendor: message.vendor.theirs(),
                hardware_version: message.hardware_version.theirs(),
                firmware: message.firmware.theirs(),
                device_id: message.device_id.theirs(),
            }
        );
    });
}

#[test]
fn set_custom_mining_job_is_the_same_on_the_wire() {
    let messages = messages_of!(mining::SetCustomMiningJob {
        channel_id,
        request_id,
        mining_job_token,
        version,
        prev_hash,
        min_ntime,
        nbits,
        coinbase_tx_version,
        coinbase_prefix,
        coinbase_tx_input_n_sequence,
        coinbase_tx_outputs,
        coinbase_tx_locktime,
        merkle_path
    });
    for_each(messages, |message| {
        assert_same_wire!(
            mining::SetCustomMiningJob: message,
            mining_sv2::SetCustomMiningJob: mining_sv2::SetCustomMiningJob {
                channel_id: message.channel_id,
                request_id: message.request_id,
                token: message.mining_job_token.theirs(),
                version: message.version,
                prev_hash: message.prev_hash.theirs(),
                min_ntime: message.min_ntime,
                nbits: message.nbits,
                coinbase_tx_version: message.coinbase_tx_version,
                coinbase_prefix: message.coinbase_prefix.theirs(),
                coinbase_tx_input_n_sequence: message.coinbase_tx_input_n_sequence,
                coinbase_tx_outputs: message.coinbase_tx_outputs.theirs(),
                coinbase_tx_locktime: message.coinbase_tx_locktime,
                merkle_path: message.merkle_path.theirs(),
            }
        );
    });
}

#[test]
fn allocate_mining_job_token_success_is_the_same_on_the_wire() {
    let messages = messages_of!(job_declaration::AllocateMiningJobTokenSuccess {
        request_id,
        mining_job_token,
        coinbase_tx_outputs
    });
    for_each(messages, |message| {
        assert_same_wire!(
            job_declaration::AllocateMiningJobTokenSuccess: message,
            job_declaration_sv2::AllocateMiningJobTokenSuccess:
                job_declaration_sv2::AllocateMiningJobTokenSuccess {
                    request_id: message.request_id,
                    mining_job_token: message.mining_job_token.theirs(),
                    coinbase_outputs: message.coinbase_tx_outputs.theirs(),
                }
        );
    });
}

/// Types and channel bits of ours beside the reference implementation's.
macro_rules! assert_same_numbers {
    ($($message:path: $msg_type:path, $channel_bit:path;)+) => {$(
        assert_eq!(<$message>::TYPE, $msg_type, stringify!($message));
        assert_eq!(<$message>::CHANNEL_BIT, $channel_bit, stringify!($message));
    )+};
}

// proves: FR-09
#[rustfmt::skip]
#[test]
fn types_and_channel_bits_are_the_same() {
    assert_same_numbers! {
        setup::SetupConnection: common_messages_sv2::MESSAGE_TYPE_SETUP_CONNECTION, common_messages_sv2::CHANNEL_BIT_SETUP_CONNECTION;
        setup::SetupConnectionSuccess: common_messages_sv2::MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, common_messages_sv2::CHANNEL_BIT_SETUP_CONNECTION_SUCCESS;
        setup::SetupConnectionError: common_messages_sv2::MESSAGE_TYPE_SETUP_CONNECTION_ERROR, common_messages_sv2::CHANNEL_BIT_SETUP_CONNECTION_ERROR;
        setup::ChannelEndpointChanged: common_messages_sv2::MESSAGE_TYPE_CHANNEL_ENDPOINT_CHANGED, common_messages_sv2::CHANNEL_BIT_CHANNEL_ENDPOINT_CHANGED;
        setup::Reconnect: common_messages_sv2::MESSAGE_TYPE_RECONNECT, common_messages_sv2::CHANNEL_BIT_RECONNECT;
        mining::OpenStandardMiningChannel: mining_sv2::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, mining_sv2::CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL;
        mining::OpenStandardMiningChannelSuccess: mining_sv2::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS, mining_sv2::CHANNEL_BIT_OPEN_STANDARD_MINING_CHANNEL_SUCCESS;
        mining::OpenMiningChannelError: mining_sv2::MESSAGE_TYPE_OPEN_MINING_CHANNEL_ERROR, mining_sv2::CHANNEL_BIT_OPEN_MINING_CHANNEL_ERROR;
        mining::OpenExtendedMiningChannel: mining_sv2::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL, mining_sv2::CHANNEL_BIT_OPEN_EXTENDED_MINING_CHANNEL;
        mining::OpenExtendedMiningChannelSuccess: mining_sv2::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS, mining_sv2::CHANNEL_BIT_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS;
        mining::NewMiningJob: mining_sv2::MESSAGE_TYPE_NEW_MINING_JOB, mining_sv2::CHANNEL_BIT_NEW_MINING_JOB;
        mining::UpdateChannel: mining_sv2::MESSAGE_TYPE_UPDATE_CHANNEL, mining_sv2::CHANNEL_BIT_UPDATE_CHANNEL;
        mining::UpdateChannelError: mining_sv2::MESSAGE_TYPE_UPDATE_CHANNEL_ERROR, mining_sv2::CHANNEL_BIT_UPDATE_CHANNEL_ERROR;
        mining::CloseChannel: mining_sv2::MESSAGE_TYPE_CLOSE_CHANNEL, mining_sv2::CHANNEL_BIT_CLOSE_CHANNEL;
        mining::SetExtranoncePrefix: mining_sv2::MESSAGE_TYPE_SET_EXTRANONCE_PREFIX, mining_sv2::CHANNEL_BIT_SET_EXTRANONCE_PREFIX;
        mining::SubmitSharesStandard: mining_sv2::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD, mining_sv2::CHANNEL_BIT_SUBMIT_SHARES_STANDARD;
        mining::SubmitSharesExtended: mining_sv2::MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED, mining_sv2::CHANNEL_BIT_SUBMIT_SHARES_EXTENDED;
        mining::SubmitSharesSuccess: mining_sv2::MESSAGE_TYPE_SUBMIT_SHARES_SUCCESS, mining_sv2::CHANNEL_BIT_SUBMIT_SHARES_SUCCESS;
        mining::SubmitSharesError: mining_sv2::MESSAGE_TYPE_SUBMIT_SHARES_ERROR, mining_sv2::CHANNEL_BIT_SUBMIT_SHARES_ERROR;
        mining::NewExtendedMiningJob: mining_sv2::MESSAGE_TYPE_NEW_EXTENDED_MINING_JOB, mining_sv2::CHANNEL_BIT_NEW_EXTENDED_MINING_JOB;
        mining::SetNewPrevHash: mining_sv2::MESSAGE_TYPE_MINING_SET_NEW_PREV_HASH, mining_sv2::CHANNEL_BIT_MINING_SET_NEW_PREV_HASH;
        mining::SetTarget: mining_sv2::MESSAGE_TYPE_SET_TARGET, mining_sv2::CHANNEL_BIT_SET_TARGET;
        mining::SetCustomMiningJob: mining_sv2::MESSAGE_TYPE_SET_CUSTOM_MINING_JOB, mining_sv2::CHANNEL_BIT_SET_CUSTOM_MINING_JOB;
        mining::SetCustomMiningJobSuccess: mining_sv2::MESSAGE_TYPE_SET_CUSTOM_MINING_JOB_SUCCESS, mining_sv2::CHANNEL_BIT_SET_CUSTOM_MINING_JOB_SUCCESS;
        mining::SetCustomMiningJobError: mining_sv2::MESSAGE_TYPE_SET_CUSTOM_MINING_JOB_ERROR, mining_sv2::CHANNEL_BIT_SET_CUSTOM_MINING_JOB_ERROR;
        mining::SetGroupChannel: mining_sv2::MESSAGE_TYPE_SET_GROUP_CHANNEL, mining_sv2::CHANNEL_BIT_SET_GROUP_CHANNEL;
        job_declaration::AllocateMiningJobToken: job_declaration_sv2::MESSAGE_TYPE_ALLOCATE_MINING_JOB_TOKEN, job_declaration_sv2::CHANNEL_BIT_ALLOCATE_MINING_JOB_TOKEN;
        job_declaration::AllocateMiningJobTokenSuccess: job_declaration_sv2::MESSAGE_TYPE_ALLOCATE_MINING_JOB_TOKEN_SUCCESS, job_declaration_sv2::CHANNEL_BIT_ALLOCATE_MINING_JOB_TOKEN_SUCCESS;
        job_declaration::ProvideMissingTransactions: job_declaration_sv2::MESSAGE_TYPE_PROVIDE_MISSING_TRANSACTIONS, job_declaration_sv2::CHANNEL_BIT_PROVIDE_MISSING_TRANSACTIONS;
        job_declaration::ProvideMissingTransactionsSuccess: job_declaration_sv2::MESSAGE_TYPE_PROVIDE_MISSING_TRANSACTIONS_SUCCESS, job_declaration_sv2::CHANNEL_BIT_PROVIDE_MISSING_TRANSACTIONS_SUCCESS;
        job_declaration::DeclareMiningJob: job_declaration_sv2::MESSAGE_TYPE_DECLARE_MINING_JOB, job_declaration_sv2::CHANNEL_BIT_DECLARE_MINING_JOB;
        job_declaration::DeclareMiningJobSuccess: job_declaration_sv2::MESSAGE_TYPE_DECLARE_MINING_JOB_SUCCESS, job_declaration_sv2::CHANNEL_BIT_DECLARE_MINING_JOB_SUCCESS;
        job_declaration::DeclareMiningJobError: job_declaration_sv2::MESSAGE_TYPE_DECLARE_MINING_JOB_ERROR, job_declaration_sv2::CHANNEL_BIT_DECLARE_MINING_JOB_ERROR;
        job_declaration::PushSolution: job_declaration_sv2::MESSAGE_TYPE_PUSH_SOLUTION, job_declaration_sv2::CHANNEL_BIT_PUSH_SOLUTION;
        template_distribution::CoinbaseOutputConstraints: template_distribution_sv2::MESSAGE_TYPE_COINBASE_OUTPUT_CONSTRAINTS, template_distribution_sv2::CHANNEL_BIT_COINBASE_OUTPUT_CONSTRAINTS;
        template_distribution::NewTemplate: template_distribution_sv2::MESSAGE_TYPE_NEW_TEMPLATE, template_distribution_sv2::CHANNEL_BIT_NEW_TEMPLATE;
        template_distribution::SetNewPrevHash: template_distribution_sv2::MESSAGE_TYPE_SET_NEW_PREV_HASH, template_distribution_sv2::CHANNEL_BIT_SET_NEW_PREV_HASH;
        template_distribution::RequestTransactionData: template_distribution_sv2::MESSAGE_TYPE_REQUEST_TRANSACTION_DATA, template_distribution_sv2::CHANNEL_BIT_REQUEST_TRANSACTION_DATA;
        template_distribution::RequestTransactionDataSuccess: template_distribution_sv2::MESSAGE_TYPE_REQUEST_TRANSACTION_DATA_SUCCESS, template_distribution_sv2::CHANNEL_BIT_REQUEST_TRANSACTION_DATA_SUCCESS;
        template_distribution::RequestTransactionDataError: template_distribution_sv2::MESSAGE_TYPE_REQUEST_TRANSACTION_DATA_ERROR, template_distribution_sv2::CHANNEL_BIT_REQUEST_TRANSACTION_DATA_ERROR;
        template_distribution::SubmitSolution: template_distribution_sv2::MESSAGE_TYPE_SUBMIT_SOLUTION, template_distribution_sv2::CHANNEL_BIT_SUBMIT_SOLUTION;
        extensions::RequestExtensions: extensions_sv2::MESSAGE_TYPE_REQUEST_EXTENSIONS, extensions_sv2::CHANNEL_BIT_REQUEST_EXTENSIONS;
        extensions::RequestExtensionsSuccess: extensions_sv2::MESSAGE_TYPE_REQUEST_EXTENSIONS_SUCCESS, extensions_sv2::CHANNEL_BIT_REQUEST_EXTENSIONS_SUCCESS;
        extensions::RequestExtensionsError: extensions_sv2::MESSAGE_TYPE_REQUEST_EXTENSIONS_ERROR, extensions_sv2::CHANNEL_BIT_REQUEST_EXTENSIONS_ERROR;
    }
    assert_eq!(extensions::EXTENSION_NEGOTIATION, extensions_sv2::EXTENSION_TYPE_EXTENSIONS_NEGOTIATION);
}
