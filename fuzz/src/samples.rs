//! Encodings of every message, to begin with.

use sv2::codec::Reader;
use sv2::{HEADER_LEN, Message, encode_frame};

/// Calls the macro `$then` with the path of every message type, after the tokens in brackets.
#[macro_export]
macro_rules! for_every_message {
    ($then:ident [$($first:tt)*]) => {
        $then! {
            $($first)*
            sv2::setup::SetupConnection,
            sv2::setup::SetupConnectionSuccess,
            sv2::setup::SetupConnectionError,
            sv2::setup::ChannelEndpointChanged,
            sv2::setup::Reconnect,
            sv2::mining::OpenStandardMiningChannel,
            sv2::mining::OpenStandardMiningChannelSuccess,
            sv2::mining::OpenMiningChannelError,
            sv2::mining::OpenExtendedMiningChannel,
            sv2::mining::OpenExtendedMiningChannelSuccess,
            sv2::mining::NewMiningJob,
            sv2::mining::UpdateChannel,
            sv2::mining::UpdateChannelError,
            sv2::mining::CloseChannel,
            sv2::mining::SetExtranoncePrefix,
            sv2::mining::SubmitSharesStandard,
            sv2::mining::SubmitSharesExtended,
            sv2::mining::SubmitSharesSuccess,
            sv2::mining::SubmitSharesError,
            sv2::mining::NewExtendedMiningJob,
            sv2::mining::SetNewPrevHash,
            sv2::mining::SetTarget,
            sv2::mining::SetCustomMiningJob,
            sv2::mining::SetCustomMiningJobSuccess,
            sv2::mining::SetCustomMiningJobError,
            sv2::mining::SetGroupChannel,
            sv2::job_declaration::AllocateMiningJobToken,
            sv2::job_declaration::AllocateMiningJobTokenSuccess,
            sv2::job_declaration::ProvideMissingTransactions,
            sv2::job_declaration::ProvideMissingTransactionsSuccess,
            sv2::job_declaration::DeclareMiningJob,
            sv2::job_declaration::DeclareMiningJobSuccess,
            sv2::job_declaration::DeclareMiningJobError,
            sv2::job_declaration::PushSolution,
            sv2::template_distribution::CoinbaseOutputConstraints,
            sv2::template_distribution::NewTemplate,
            sv2::template_distribution::SetNewPrevHash,
            sv2::template_distribution::RequestTransactionData,
            sv2::template_distribution::RequestTransactionDataSuccess,
            sv2::template_distribution::RequestTransactionDataError,
            sv2::template_distribution::SubmitSolution,
            sv2::extensions::RequestExtensions,
            sv2::extensions::RequestExtensionsSuccess,
            sv2::extensions::RequestExtensionsError,
        }
    };
}

/// Payloads that are decoded as each message: all zeros is every message with nothing in it, a repeated
/// byte is every length and count of that size.
fn patterns() -> impl Iterator<Item = Vec<u8>> {
    [0u8, 1, 2, 3].into_iter().map(|byte| vec![byte; 5000])
}

/// Frames of every message, the shortest first, then with something in each field.
pub fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    macro_rules! encode {
        ($($message:path,)+) => {
            for pattern in patterns() {
                $({
                    use $message as M;
                    if let Ok(message) = M::read(&mut Reader::new(&pattern)) {
                        let mut frame = Vec::new();
                        encode_frame(&message, &mut frame).expect("a message that was read fits a frame");
                        if frame.len() < 1200 {
                            frames.push(frame);
                        }
                    }
                })+
            }
        };
    }
    for_every_message!(encode []);
    frames
}

/// The payload behind a frame's header.
pub fn payload(frame: &[u8]) -> &[u8] {
    &frame[HEADER_LEN..]
}
