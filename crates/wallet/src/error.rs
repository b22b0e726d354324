//! Why the wallet cannot do something. No message holds words, secrets or tokens.

use crate::{Holding, KeyOf};
use ledger::Epoch;
use std::{io, path::PathBuf};

/// What went wrong, and what helps.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// There is no wallet here.
    #[error(
        "there is no wallet in {0}: make one with `assay wallet init`, or name another directory with --dir"
    )]
    NoWallet(PathBuf),
    /// There is one already, and it is never replaced.
    #[error("there is a wallet in {0} already: use it, or name another directory with --dir")]
    Exists(PathBuf),
    /// A store without its seed.
    #[error(
        "{0} is missing, and its store is there: put it back from a backup, or give its words to `assay wallet restore`"
    )]
    SeedMissing(PathBuf),
    /// A seed without its store.
    #[error("{0} is missing or empty: `assay wallet restore --kept` makes it anew and finds the eHash again")]
    StoreMissing(PathBuf),
    /// The seed's file holds no words.
    #[error("{0} holds no seed phrase: put it back from a backup")]
    SeedDamaged(PathBuf),
    /// The store is another seed's.
    #[error("{path} is not the seed of the store beside it: put the right one back from a backup")]
    OtherSeed {
        /// The seed's file.
        path: PathBuf,
    },
    /// Words that are not the kept ones.
    #[error("the words are not those of the wallet in {0}: name another directory with --dir")]
    OtherWords(PathBuf),
    /// What was typed is no seed phrase.
    #[error(
        "the words are no seed phrase: type the twelve words in their order; the last one proves the others"
    )]
    Words,
    /// The restore did not come to its end.
    #[error("the restore in {0} was interrupted: run `assay wallet restore --kept`, then nothing is missing")]
    RestoreUnfinished(PathBuf),
    /// Two at once would use the same secrets.
    #[error("another `assay wallet` works in {0}: wait until it has ended")]
    Busy(PathBuf),
    /// Files of the wallet.
    #[error("{path} cannot be used: {source}")]
    Files {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its database.
    #[error("the wallet's store cannot be used: {0}")]
    Store(#[from] cdk_common::database::Error),
    /// The system gives none.
    #[error("the system gives no randomness: {0}")]
    Randomness(String),
    /// Keys are counted to 2^31.
    #[error("there is no key for {0}: the last epoch that has one is 2147483646")]
    NoSuchKey(KeyOf),
    /// No mint was named.
    #[error("no mint is known: name it with --mint http://host:3338")]
    NoMint,
    /// The mint's URL.
    #[error("--mint {0} is no mint's address: use one such as http://127.0.0.1:3338, without /e/<n>")]
    MintUrl(String),
    /// The pages' URL.
    #[error("--pages {0} is no address: use that of the pool's pages, such as http://127.0.0.1:3380")]
    PagesUrl(String),
    /// Nobody answers.
    #[error("{url} does not answer as a mint or pool does: {reason}; what was done so far is kept")]
    Unreachable {
        /// Whom we asked.
        url: String,
        /// What came instead.
        reason: String,
    },
    /// The mint answered with a refusal.
    #[error("the mint refuses: {0}")]
    Refused(String),
    /// No such epoch.
    #[error("epoch {epoch} is not open: the mint's newest is {newest}")]
    NotOpen {
        /// What was asked for.
        epoch: Epoch,
        /// The newest.
        newest: Epoch,
    },
    /// More is to be sent or redeemed than there is.
    #[error(
        "this wallet holds {has} of {of}, and {wanted} were asked for: `assay wallet claim` fetches what is due"
    )]
    TooLittle {
        /// Of what.
        of: Holding,
        /// In the wallet.
        has: u64,
        /// To be sent or redeemed, or for the fee.
        wanted: u64,
    },
    /// Less than a satoshi.
    #[error("{amount} of {of} is worth less than a satoshi")]
    Worthless {
        /// Of what.
        of: Holding,
        /// How much.
        amount: u64,
    },
    /// Satoshi ecash is what it would become.
    #[error("satoshi ecash is ecash already: redeem it to a Bitcoin address, or send it")]
    EcashAlready,
    /// Not readable.
    #[error("this is no token: a token begins with cashuB or cashuA")]
    NoToken,
    /// Its unit is neither an epoch's nor satoshi.
    #[error(
        "this is a token of unit `{0}`, and this wallet holds satoshi ecash, `sat`, and eHash: that of epoch 7 is `ehash-7`"
    )]
    ForeignUnit(String),
    /// Another mint's.
    #[error("this token is of {theirs}, and this wallet uses {ours}: receive it with --mint {theirs}")]
    ForeignMint {
        /// The token's.
        theirs: String,
        /// The wallet's.
        ours: String,
    },
    /// CDK.
    #[error("{0}")]
    Cdk(String),
}

impl From<cdk::Error> for WalletError {
    fn from(error: cdk::Error) -> Self {
        match error {
            cdk::Error::UnknownErrorResponse(text) => {
                // `code: 20010, detail: …`: the words are for people.
                let words = text.split_once("detail: ").map_or(text.as_str(), |(_, words)| words);
                Self::Refused(words.to_owned())
            }
            cdk::Error::HttpError(None, reason) => Self::Unreachable { url: "the mint".into(), reason },
            cdk::Error::Database(error) => Self::Store(error),
            other => Self::Cdk(other.to_string()),
        }
    }
}
