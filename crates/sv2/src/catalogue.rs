//! Every message that the specification defines (checklist section 1), in one table.

use crate::{
    extensions::*,
    job_declaration as jd,
    message::{Message, Sender},
    mining::*,
    setup::*,
    template_distribution as td,
};

/// One message of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The extension that defined it; 0 for core messages.
    pub extension: u16,
    /// `msg_type` within the extension.
    pub msg_type: u8,
    /// Name in the specification.
    pub name: &'static str,
    /// Who may send it.
    pub sender: Sender,
    /// Whether it carries the channel bit.
    pub channel_bit: bool,
    /// The one subprotocol that it belongs to; `None` if it belongs to all.
    pub protocol: Option<Protocol>,
}

impl Entry {
    const fn of<'a, M: Message<'a>>(protocol: Option<Protocol>) -> Self {
        Self {
            extension: M::EXTENSION,
            msg_type: M::TYPE,
            name: M::NAME,
            sender: M::SENDER,
            channel_bit: M::CHANNEL_BIT,
            protocol,
        }
    }
}

/// The message with this type in this extension, if one is defined. 0x1e is reserved, and numbers of
/// messages that were removed from the specification are free: neither is in the table (MSG-20).
pub fn find(extension: u16, msg_type: u8) -> Option<&'static Entry> {
    CATALOGUE.iter().find(|entry| (entry.extension, entry.msg_type) == (extension, msg_type))
}

const ALL: Option<Protocol> = None;
const MINING: Option<Protocol> = Some(Protocol::Mining);
const DECLARATION: Option<Protocol> = Some(Protocol::JobDeclaration);
const TEMPLATES: Option<Protocol> = Some(Protocol::TemplateDistribution);

/// All messages, by extension and type.
pub const CATALOGUE: &[Entry] = &[
    Entry::of::<SetupConnection<'_>>(ALL),
    Entry::of::<SetupConnectionSuccess>(ALL),
    Entry::of::<SetupConnectionError<'_>>(ALL),
    Entry::of::<ChannelEndpointChanged>(ALL),
    Entry::of::<Reconnect<'_>>(ALL),
    Entry::of::<OpenStandardMiningChannel<'_>>(MINING),
    Entry::of::<OpenStandardMiningChannelSuccess<'_>>(MINING),
    Entry::of::<OpenMiningChannelError<'_>>(MINING),
    Entry::of::<OpenExtendedMiningChannel<'_>>(MINING),
    Entry::of::<OpenExtendedMiningChannelSuccess<'_>>(MINING),
    Entry::of::<NewMiningJob>(MINING),
    Entry::of::<UpdateChannel>(MINING),
    Entry::of::<UpdateChannelError<'_>>(MINING),
    Entry::of::<CloseChannel<'_>>(MINING),
    Entry::of::<SetExtranoncePrefix<'_>>(MINING),
    Entry::of::<SubmitSharesStandard>(MINING),
    Entry::of::<SubmitSharesExtended<'_>>(MINING),
    Entry::of::<SubmitSharesSuccess>(MINING),
    Entry::of::<SubmitSharesError<'_>>(MINING),
    Entry::of::<NewExtendedMiningJob<'_>>(MINING),
    Entry::of::<SetNewPrevHash>(MINING),
    Entry::of::<SetTarget>(MINING),
    Entry::of::<SetCustomMiningJob<'_>>(MINING),
    Entry::of::<SetCustomMiningJobSuccess>(MINING),
    Entry::of::<SetCustomMiningJobError<'_>>(MINING),
    Entry::of::<SetGroupChannel<'_>>(MINING),
    Entry::of::<jd::AllocateMiningJobToken<'_>>(DECLARATION),
    Entry::of::<jd::AllocateMiningJobTokenSuccess<'_>>(DECLARATION),
    Entry::of::<jd::ProvideMissingTransactions<'_>>(DECLARATION),
    Entry::of::<jd::ProvideMissingTransactionsSuccess<'_>>(DECLARATION),
    Entry::of::<jd::DeclareMiningJob<'_>>(DECLARATION),
    Entry::of::<jd::DeclareMiningJobSuccess<'_>>(DECLARATION),
    Entry::of::<jd::DeclareMiningJobError<'_>>(DECLARATION),
    Entry::of::<jd::PushSolution<'_>>(DECLARATION),
    Entry::of::<td::CoinbaseOutputConstraints>(TEMPLATES),
    Entry::of::<td::NewTemplate<'_>>(TEMPLATES),
    Entry::of::<td::SetNewPrevHash>(TEMPLATES),
    Entry::of::<td::RequestTransactionData>(TEMPLATES),
    Entry::of::<td::RequestTransactionDataSuccess<'_>>(TEMPLATES),
    Entry::of::<td::RequestTransactionDataError<'_>>(TEMPLATES),
    Entry::of::<td::SubmitSolution<'_>>(TEMPLATES),
    Entry::of::<RequestExtensions<'_>>(ALL),
    Entry::of::<RequestExtensionsSuccess<'_>>(ALL),
    Entry::of::<RequestExtensionsError<'_>>(ALL),
];
