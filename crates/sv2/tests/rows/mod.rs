//! Every message of the catalogue, transcribed a second time from the checklist (section 1): type, channel
//! bit, sender, protocol, the reference implementation's type, fields in wire order, and the payload's
//! size as its fixed part and the fields that add to it.

// Each test binary uses a part.
#![allow(dead_code)]

use {
    assay_sv2::{ErrorCode, codec::*},
    proptest::{
        collection::vec,
        prelude::{Strategy, any},
        strategy::BoxedStrategy,
        test_runner::{Config, TestRunner},
    },
    std::fmt::Debug,
};

#[rustfmt::skip]
macro_rules! every_message {
    ($row:ident) => {
        $row!(0x0000 0x00 false Client None, setup::SetupConnection = by_hand { protocol, min_version, max_version, flags, endpoint_host, endpoint_port, vendor, hardware_version, firmware, device_id } 16 [endpoint_host, vendor, hardware_version, firmware, device_id]);
        $row!(0x0000 0x01 false Server None, setup::SetupConnectionSuccess = common_messages_sv2::SetupConnectionSuccess { used_version, flags } 6 []);
        $row!(0x0000 0x02 false Server None, setup::SetupConnectionError = common_messages_sv2::SetupConnectionError { flags, error_code } 5 [error_code]);
        $row!(0x0000 0x03 true Server None, setup::ChannelEndpointChanged = common_messages_sv2::ChannelEndpointChanged { channel_id } 4 []);
        $row!(0x0000 0x04 false Server None, setup::Reconnect = common_messages_sv2::Reconnect { new_host, new_port } 3 [new_host]);

        $row!(0x0000 0x10 false Client Some(Mining), mining::OpenStandardMiningChannel = mining_sv2::OpenStandardMiningChannel { request_id, user_identity, nominal_hash_rate, max_target } 41 [user_identity]);
        $row!(0x0000 0x11 false Server Some(Mining), mining::OpenStandardMiningChannelSuccess = mining_sv2::OpenStandardMiningChannelSuccess { request_id, channel_id, target, extranonce_prefix, group_channel_id } 45 [extranonce_prefix]);
        $row!(0x0000 0x12 false Server Some(Mining), mining::OpenMiningChannelError = mining_sv2::OpenMiningChannelError { request_id, error_code } 5 [error_code]);
        $row!(0x0000 0x13 false Client Some(Mining), mining::OpenExtendedMiningChannel = mining_sv2::OpenExtendedMiningChannel { request_id, user_identity, nominal_hash_rate, max_target, min_extranonce_size } 43 [user_identity]);
        $row!(0x0000 0x14 false Server Some(Mining), mining::OpenExtendedMiningChannelSuccess = mining_sv2::OpenExtendedMiningChannelSuccess { request_id, channel_id, target, extranonce_size, extranonce_prefix, group_channel_id } 47 [extranonce_prefix]);
        $row!(0x0000 0x15 true Server Some(Mining), mining::NewMiningJob = mining_sv2::NewMiningJob { channel_id, job_id, min_ntime, version, merkle_root } 45 [min_ntime]);
        $row!(0x0000 0x16 true Client Some(Mining), mining::UpdateChannel = mining_sv2::UpdateChannel { channel_id, nominal_hash_rate, maximum_target } 40 []);
        $row!(0x0000 0x17 true Server Some(Mining), mining::UpdateChannelError = mining_sv2::UpdateChannelError { channel_id, error_code } 5 [error_code]);
        $row!(0x0000 0x18 true Both Some(Mining), mining::CloseChannel = mining_sv2::CloseChannel { channel_id, reason_code } 5 [reason_code]);
        $row!(0x0000 0x19 true Server Some(Mining), mining::SetExtranoncePrefix = mining_sv2::SetExtranoncePrefix { channel_id, extranonce_prefix } 5 [extranonce_prefix]);
        $row!(0x0000 0x1a true Client Some(Mining), mining::SubmitSharesStandard = mining_sv2::SubmitSharesStandard { channel_id, sequence_number, job_id, nonce, ntime, version } 24 []);
        $row!(0x0000 0x1b true Client Some(Mining), mining::SubmitSharesExtended = mining_sv2::SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce } 25 [extranonce]);
        $row!(0x0000 0x1c true Server Some(Mining), mining::SubmitSharesSuccess = mining_sv2::SubmitSharesSuccess { channel_id, last_sequence_number, new_submits_accepted_count, new_shares_sum } 20 []);
        $row!(0x0000 0x1d true Server Some(Mining), mining::SubmitSharesError = mining_sv2::SubmitSharesError { channel_id, sequence_number, error_code } 9 [error_code]);
        $row!(0x0000 0x1f true Server Some(Mining), mining::NewExtendedMiningJob = mining_sv2::NewExtendedMiningJob { channel_id, job_id, min_ntime, version, version_rolling_allowed, merkle_path, coinbase_tx_prefix, coinbase_tx_suffix } 19 [min_ntime, merkle_path, coinbase_tx_prefix, coinbase_tx_suffix]);
        $row!(0x0000 0x20 true Server Some(Mining), mining::SetNewPrevHash = mining_sv2::SetNewPrevHash { channel_id, job_id, prev_hash, min_ntime, nbits } 48 []);
        $row!(0x0000 0x21 true Server Some(Mining), mining::SetTarget = mining_sv2::SetTarget { channel_id, maximum_target } 36 []);
        $row!(0x0000 0x22 true Client Some(Mining), mining::SetCustomMiningJob = by_hand { channel_id, request_id, mining_job_token, version, prev_hash, min_ntime, nbits, coinbase_tx_version, coinbase_prefix, coinbase_tx_input_n_sequence, coinbase_tx_outputs, coinbase_tx_locktime, merkle_path } 69 [mining_job_token, coinbase_prefix, coinbase_tx_outputs, merkle_path]);
        $row!(0x0000 0x23 true Server Some(Mining), mining::SetCustomMiningJobSuccess = mining_sv2::SetCustomMiningJobSuccess { channel_id, request_id, job_id } 12 []);
        $row!(0x0000 0x24 true Server Some(Mining), mining::SetCustomMiningJobError = mining_sv2::SetCustomMiningJobError { channel_id, request_id, error_code } 9 [error_code]);
        $row!(0x0000 0x25 false Server Some(Mining), mining::SetGroupChannel = mining_sv2::SetGroupChannel { group_channel_id, channel_ids } 6 [channel_ids]);

        $row!(0x0000 0x50 false Client Some(JobDeclaration), job_declaration::AllocateMiningJobToken = job_declaration_sv2::AllocateMiningJobToken { user_identifier, request_id } 5 [user_identifier]);
        $row!(0x0000 0x51 false Server Some(JobDeclaration), job_declaration::AllocateMiningJobTokenSuccess = by_hand { request_id, mining_job_token, coinbase_tx_outputs } 7 [mining_job_token, coinbase_tx_outputs]);
        $row!(0x0000 0x55 false Server Some(JobDeclaration), job_declaration::ProvideMissingTransactions = job_declaration_sv2::ProvideMissingTransactions { request_id, unknown_tx_position_list } 6 [unknown_tx_position_list]);
        $row!(0x0000 0x56 false Client Some(JobDeclaration), job_declaration::ProvideMissingTransactionsSuccess = job_declaration_sv2::ProvideMissingTransactionsSuccess { request_id, transaction_list } 6 [transaction_list]);
        $row!(0x0000 0x57 false Client Some(JobDeclaration), job_declaration::DeclareMiningJob = job_declaration_sv2::DeclareMiningJob { request_id, mining_job_token, version, coinbase_tx_prefix, coinbase_tx_suffix, wtxid_list, excess_data } 17 [mining_job_token, coinbase_tx_prefix, coinbase_tx_suffix, wtxid_list, excess_data]);
        $row!(0x0000 0x58 false Server Some(JobDeclaration), job_declaration::DeclareMiningJobSuccess = job_declaration_sv2::DeclareMiningJobSuccess { request_id, new_mining_job_token } 5 [new_mining_job_token]);
        $row!(0x0000 0x59 false Server Some(JobDeclaration), job_declaration::DeclareMiningJobError = job_declaration_sv2::DeclareMiningJobError { request_id, error_code, error_details } 7 [error_code, error_details]);
        $row!(0x0000 0x60 false Client Some(JobDeclaration), job_declaration::PushSolution = job_declaration_sv2::PushSolution { extranonce, prev_hash, nonce, ntime, nbits, version } 49 [extranonce]);

        $row!(0x0000 0x70 false Client Some(TemplateDistribution), template_distribution::CoinbaseOutputConstraints = template_distribution_sv2::CoinbaseOutputConstraints { coinbase_output_max_additional_size, coinbase_output_max_additional_sigops } 6 []);
        $row!(0x0000 0x71 false Server Some(TemplateDistribution), template_distribution::NewTemplate = template_distribution_sv2::NewTemplate { template_id, future_template, version, coinbase_tx_version, coinbase_prefix, coinbase_tx_input_sequence, coinbase_tx_value_remaining, coinbase_tx_outputs_count, coinbase_tx_outputs, coinbase_tx_locktime, merkle_path } 41 [coinbase_prefix, coinbase_tx_outputs, merkle_path]);
        $row!(0x0000 0x72 false Server Some(TemplateDistribution), template_distribution::SetNewPrevHash = template_distribution_sv2::SetNewPrevHash { template_id, prev_hash, header_timestamp, n_bits, target } 80 []);
        $row!(0x0000 0x73 false Client Some(TemplateDistribution), template_distribution::RequestTransactionData = template_distribution_sv2::RequestTransactionData { template_id } 8 []);
        $row!(0x0000 0x74 false Server Some(TemplateDistribution), template_distribution::RequestTransactionDataSuccess = template_distribution_sv2::RequestTransactionDataSuccess { template_id, excess_data, transaction_list } 12 [excess_data, transaction_list]);
        $row!(0x0000 0x75 false Server Some(TemplateDistribution), template_distribution::RequestTransactionDataError = template_distribution_sv2::RequestTransactionDataError { template_id, error_code } 9 [error_code]);
        $row!(0x0000 0x76 false Client Some(TemplateDistribution), template_distribution::SubmitSolution = template_distribution_sv2::SubmitSolution { template_id, version, header_timestamp, header_nonce, coinbase_tx } 22 [coinbase_tx]);

        $row!(0x0001 0x00 false Client None, extensions::RequestExtensions = extensions_sv2::RequestExtensions { request_id, requested_extensions } 4 [requested_extensions]);
        $row!(0x0001 0x01 false Server None, extensions::RequestExtensionsSuccess = extensions_sv2::RequestExtensionsSuccess { request_id, supported_extensions } 4 [supported_extensions]);
        $row!(0x0001 0x02 false Server None, extensions::RequestExtensionsError = extensions_sv2::RequestExtensionsError { request_id, unsupported_extensions, required_extensions } 6 [unsupported_extensions, required_extensions]);
    };
}

/// `nested!(a b c)` is `(a, (b, c))`: proptest's tuples are too short for the longest messages.
macro_rules! nested {
    ($last:tt) => { $last };
    ($first:tt $($rest:tt)+) => { ($first, nested!($($rest)+)) };
}

/// As [`nested`], with a strategy in each place.
macro_rules! nested_samples {
    ($last:ident) => { $crate::rows::sample() };
    ($first:ident $($rest:ident)+) => { ($crate::rows::sample(), nested_samples!($($rest)+)) };
}

/// A strategy for whole messages.
macro_rules! messages_of {
    ($module:ident::$name:ident { $($field:ident),+ }) => {{
        use proptest::strategy::Strategy as _;
        nested_samples!($($field)+).prop_map(|nested!($($field)+)| $module::$name { $($field),+ })
    }};
}

/// Runs `test` for a few values of a strategy.
pub fn for_each<S: Strategy>(strategy: S, test: impl Fn(S::Value)) {
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&strategy, |value| {
            test(value);
            Ok(())
        })
        .unwrap();
}

/// A field type that tests can make values of.
pub trait Sample: Debug + Sized + 'static {
    fn samples() -> BoxedStrategy<Self>;

    /// Bytes that the value adds to a payload, beyond the fixed part.
    fn variable_len(&self) -> usize {
        0
    }
}

pub fn sample<T: Sample>() -> BoxedStrategy<T> {
    T::samples()
}

macro_rules! plain {
    ($($ty:ty),+) => {$(
        impl Sample for $ty {
            fn samples() -> BoxedStrategy<Self> {
                any::<$ty>().boxed()
            }
        }
    )+};
}

plain!(u8, u16, u32, u64, bool, U256);

impl Sample for Option<u32> {
    fn samples() -> BoxedStrategy<Self> {
        any::<Option<u32>>().boxed()
    }

    fn variable_len(&self) -> usize {
        if self.is_some() { 4 } else { 0 }
    }
}

impl Sample for F32 {
    fn samples() -> BoxedStrategy<Self> {
        any::<f32>().prop_map(F32::new).boxed()
    }
}

impl<const PREFIX: usize, const MAX: usize> Sample for Bytes<'static, PREFIX, MAX> {
    fn samples() -> BoxedStrategy<Self> {
        vec(any::<u8>(), 0..=MAX.min(1_000)).prop_map(|bytes| Bytes::new(bytes).unwrap()).boxed()
    }

    fn variable_len(&self) -> usize {
        self.len()
    }
}

impl Sample for Str0_255<'static> {
    fn samples() -> BoxedStrategy<Self> {
        vec(any::<u8>(), 0..=255).prop_map(|bytes| Str0_255::from_bytes(bytes).unwrap()).boxed()
    }

    fn variable_len(&self) -> usize {
        self.as_bytes().len()
    }
}

impl Sample for ErrorCode<'static> {
    fn samples() -> BoxedStrategy<Self> {
        vec(b' '..=b'~', 0..=255)
            .prop_map(|bytes| ErrorCode::new(String::from_utf8(bytes).unwrap()).unwrap())
            .boxed()
    }

    fn variable_len(&self) -> usize {
        self.as_bytes().len()
    }
}

macro_rules! sequences {
    ($($element:ty),+) => {$(
        impl<const PREFIX: usize> Sample for Seq<'static, $element, PREFIX> {
            fn samples() -> BoxedStrategy<Self> {
                vec(any::<$element>(), 0..40).prop_map(|items| Self::new(items).unwrap()).boxed()
            }

            fn variable_len(&self) -> usize {
                self.len() * size_of::<$element>()
            }
        }
    )+};
}

sequences!(u16, u32, U256);

impl Sample for Seq0_64K<'static, Transaction> {
    fn samples() -> BoxedStrategy<Self> {
        vec(vec(any::<u8>(), 0..300), 0..8)
            .prop_map(|items| Self::new(items.iter().map(Vec::as_slice)).unwrap())
            .boxed()
    }

    fn variable_len(&self) -> usize {
        self.iter().map(|transaction| 3 + transaction.len()).sum()
    }
}
