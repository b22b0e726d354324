//! One growing quote for each epoch and payout key, paid by pull.
//!
//! Nothing is written to the mint's database until a wallet asks. Then the quote's id follows from epoch and key, and it is
//! paid what the ledger has credited and the quote has not been paid yet: one payment whose id says what had been paid
//! before it. Two that ask at once make the same payment, which the database takes once; a crash before the commit leaves
//! nothing, one after it leaves all. So every eHash that was credited can be claimed, exactly once.

use crate::{Books, BooksError, EpochUnit, MintSeed, processor::METHOD};
use cdk::{
    Amount, Mint,
    cdk_payment::{PaymentIdentifier, WaitPaymentResponse},
    mint::MintQuote,
    nuts::{CurrencyUnit, PaymentMethod, PublicKey},
    util::unix_time,
};
use cdk_common::QuoteId;
use ledger::Epoch;
use std::sync::Arc;
use tokio::sync::Semaphore;
use work::{Ehash, PayoutKey};

/// Why a quote cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum QuoteError {
    /// The unit is no epoch's, or none that is open yet.
    #[error(
        "unit `{unit}` is not one of this mint: epochs 0 to {open} are open, with the units `ehash-0` to `ehash-{open}`"
    )]
    Unit {
        /// What was asked for.
        unit: String,
        /// The newest epoch.
        open: Epoch,
    },
    /// A quote is locked to the key that the shares were credited to.
    #[error("`pubkey` is missing: eHash is claimed with the payout key that was given to the miner")]
    NoKey,
    /// The key is no point, which nobody could have mined for.
    #[error("`pubkey` is no payout key: {0}")]
    Key(#[from] work::IdentityError),
    /// The books are away.
    #[error("the pool's books cannot be read at present; what was credited stays credited: {0}")]
    Books(#[from] BooksError),
    /// The quote has been paid more than the ledger has credited: nothing is issued from it until an operator has looked.
    #[error("this quote was paid {paid} eHash, but the pool has credited {credited}: ask the operator")]
    Overpaid {
        /// By the mint's database.
        paid: u64,
        /// By the ledger.
        credited: u64,
    },
    /// Nobody serves any more.
    #[error("the mint is stopping")]
    Stopping,
    /// CDK, or its database.
    #[error(transparent)]
    Mint(#[from] cdk::Error),
    /// Its database.
    #[error(transparent)]
    Database(#[from] cdk_common::database::Error),
}

/// Where the database has the form in which a quote's key was asked for, if it is not the first one any more.
const FORMS: (&str, &str) = ("ehash", "key_forms");

/// A time that does not come, in seconds as CDK counts them.
const NEVER: u64 = u32::MAX as u64;

/// Makes quotes and pays them.
pub struct Quotes {
    mint: Arc<Mint>,
    books: Arc<dyn Books>,
    seed: MintSeed,
    /// For those that change the database.
    permits: Arc<Semaphore>,
}

/// Whose quote it is, as its `request` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    unit: EpochUnit,
    key: PayoutKey,
}

impl Quotes {
    pub(crate) fn new(
        mint: Arc<Mint>,
        books: Arc<dyn Books>,
        seed: MintSeed,
        permits: Arc<Semaphore>,
    ) -> Self {
        Self { mint, books, seed, permits }
    }

    /// The quote of a key in an epoch, paid up to what the ledger has.
    ///
    /// Two points share the x coordinate that a payout key is, and a signature is good for both; but wallets sign for no quote
    /// that shows the other one. So it shows the one that was asked for last: whoever asks first cannot know which it is,
    /// or may mean to lock the owner out.
    ///
    /// # Errors
    /// For a unit that is not open, without a key, and when books or database cannot be used.
    pub async fn of(&self, unit: &CurrencyUnit, pubkey: Option<PublicKey>) -> Result<MintQuote, QuoteError> {
        let open = self.ask(|books| books.open_epoch()).await?;
        let unknown = || QuoteError::Unit { unit: unit.to_string(), open };
        let epoch_unit = EpochUnit::try_from(unit).map_err(|_| unknown())?;
        if !self.mint.get_active_keysets().contains_key(unit) {
            return Err(unknown());
        }
        let pubkey = pubkey.ok_or(QuoteError::NoKey)?;
        let owner = Owner { unit: epoch_unit, key: payout_key(&pubkey)? };
        let credited = self.credited(owner).await?;
        self.paid(owner, pubkey, credited).await
    }

    /// The quote of a key in an epoch that it has earned in; it is made now if nobody has asked for it.
    ///
    /// # Errors
    /// As [`Quotes::of`].
    pub(crate) async fn with_credit(
        &self,
        unit: EpochUnit,
        pubkey: PublicKey,
    ) -> Result<Option<MintQuote>, QuoteError> {
        let owner = Owner { unit, key: payout_key(&pubkey)? };
        match self.credited(owner).await? {
            Ehash::ZERO => Ok(None),
            credited => Ok(Some(self.paid(owner, pubkey, credited).await?)),
        }
    }

    /// The mint's own key (NUT-06).
    pub(crate) async fn mint_key(&self) -> Result<Option<PublicKey>, QuoteError> {
        Ok(self.mint.mint_info().await?.pubkey)
    }

    /// Pays a quote that exists up to what the ledger has. Nothing happens for an id that is none of ours: CDK has the words
    /// for it.
    ///
    /// # Errors
    /// As [`Quotes::of`].
    pub async fn bring_up(&self, id: &QuoteId) -> Result<Option<MintQuote>, QuoteError> {
        let Some((mut quote, owner, pubkey)) = self.known(id).await? else { return Ok(None) };
        let credited = self.credited(owner).await?;
        let shown = self.shown(id).await?.unwrap_or(pubkey);
        // Wallets look often, and mostly there is nothing new: then nothing is written.
        if quote.amount_paid().value() == credited.get() {
            quote.pubkey = Some(shown);
            return Ok(Some(quote));
        }
        Ok(Some(self.pay(owner, shown, credited).await?))
    }

    /// The same for a claim, which does not ask how the quote shows its key.
    ///
    /// # Errors
    /// As [`Quotes::of`].
    pub(crate) async fn bring_up_for_claim(&self, id: &QuoteId) -> Result<(), QuoteError> {
        let Some((quote, owner, pubkey)) = self.known(id).await? else { return Ok(()) };
        let credited = self.credited(owner).await?;
        if quote.amount_paid().value() != credited.get() {
            let shown = self.shown(id).await?.unwrap_or(pubkey);
            self.pay(owner, shown, credited).await?;
        }
        Ok(())
    }

    /// A quote of ours, whose it is, and the form of its key that is stored with it.
    async fn known(&self, id: &QuoteId) -> Result<Option<(MintQuote, Owner, PublicKey)>, QuoteError> {
        let Some(quote) = self.mint.localstore().get_mint_quote(id).await? else { return Ok(None) };
        let owner = Owner::parse(&quote.request).zip(quote.pubkey);
        Ok(owner.map(|(owner, pubkey)| (quote, owner, pubkey)))
    }

    /// The form of the key that was asked for last, if it is not the one that is stored with the quote.
    async fn shown(&self, id: &QuoteId) -> Result<Option<PublicKey>, QuoteError> {
        let form = self.mint.localstore().kv_read(FORMS.0, FORMS.1, &id.to_string()).await?;
        Ok(form.and_then(|form| PublicKey::from_slice(&form).ok()))
    }

    /// Tells subscribers of a quote's state, though it may not have changed.
    pub(crate) fn announce(&self, quote: &MintQuote) {
        self.mint.pubsub_manager().mint_quote_payment(quote, quote.amount_paid());
    }

    async fn credited(&self, Owner { unit, key }: Owner) -> Result<Ehash, BooksError> {
        self.ask(move |books| books.credit(unit.0, &key)).await
    }

    /// A key's quote with all that was credited paid, showing the key in this form.
    async fn paid(&self, owner: Owner, pubkey: PublicKey, credited: Ehash) -> Result<MintQuote, QuoteError> {
        let id = self.seed.quote_id(owner.unit, &owner.key);
        if let Some(mut quote) = self.mint.localstore().get_mint_quote(&id).await?
            && quote.amount_paid().value() == credited.get()
            && self.shown(&id).await?.or(quote.pubkey) == Some(pubkey)
        {
            quote.pubkey = Some(pubkey);
            return Ok(quote);
        }
        self.pay(owner, pubkey, credited).await
    }

    /// Makes the quote if there is none, and pays it what is missing.
    async fn pay(&self, owner: Owner, pubkey: PublicKey, credited: Ehash) -> Result<MintQuote, QuoteError> {
        let Owner { unit, key } = owner;
        let id = self.seed.quote_id(unit, &key);
        let database = self.mint.localstore();
        let _permit = self.permits.acquire().await.map_err(|_| QuoteError::Stopping)?;
        let mut transaction = database.begin_transaction().await?;
        let found = transaction.get_mint_quotes_by_ids(std::slice::from_ref(&id)).await?;
        let mut quote = match found.into_iter().next().flatten() {
            Some(quote) => quote,
            None => transaction.add_mint_quote(owner.new_quote(id, pubkey)).await?,
        };
        let paid = quote.amount_paid().value();
        if paid > credited.get() {
            tracing::error!(%unit, paid, credited = credited.get(), "a quote was paid more than was credited");
            return Err(QuoteError::Overpaid { paid, credited: credited.get() });
        }
        let id = quote.id.to_string();
        let form = transaction.kv_read(FORMS.0, FORMS.1, &id).await?;
        let form = form.and_then(|form| PublicKey::from_slice(&form).ok()).or(quote.pubkey);
        if form != Some(pubkey) {
            transaction.kv_write(FORMS.0, FORMS.1, &id, &pubkey.to_bytes()).await?;
        }
        let payment = owner.payment(paid, credited);
        let news = match payment {
            Some(payment) => self.mint.pay_mint_quote(&mut transaction, &mut quote, payment).await?,
            None => false,
        };
        let mut quote = MintQuote::clone(&quote);
        quote.pubkey = Some(pubkey);
        transaction.commit().await?;
        if news {
            self.announce(&quote);
        }
        Ok(quote)
    }

    /// A question to the books, off the threads that serve requests.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Books) -> Result<T, BooksError> + Send + 'static,
    ) -> Result<T, BooksError> {
        let books = Arc::clone(&self.books);
        let answer = tokio::task::spawn_blocking(move || question(&*books)).await;
        answer.unwrap_or_else(|error| Err(BooksError::Unreadable(error.to_string())))
    }
}

impl Owner {
    /// What stands in a quote's `request`, and names it in the database: one for each unit and key.
    fn request(&self) -> String {
        format!("{METHOD}:{}:{}", self.unit, self.key)
    }

    fn parse(request: &str) -> Option<Self> {
        let (unit, key) = request.strip_prefix(METHOD)?.strip_prefix(':')?.split_once(':')?;
        Some(Self { unit: unit.parse().ok()?, key: key.parse().ok()? })
    }

    fn new_quote(&self, id: QuoteId, pubkey: PublicKey) -> MintQuote {
        let unit = self.unit.to_cashu();
        let (nothing, now) = (Amount::new(0, unit.clone()), unix_time());
        let mut quote = MintQuote::new(
            Some(id),
            self.request(),
            unit,
            None,
            // What was credited is owed until the epoch retires, which no clock of today's decides.
            NEVER,
            PaymentIdentifier::CustomId(self.request()),
            Some(pubkey),
            nothing.clone(),
            nothing,
            PaymentMethod::Custom(METHOD.to_owned()),
            now,
            now,
            Vec::new(),
            Vec::new(),
            Some(serde_json::json!({ "epoch": self.unit.0.get() })),
        );
        // CDK would write down at each claim that it asked for payments, and there are none but ours.
        quote.set_last_checked(NEVER);
        quote
    }

    /// What brings a quote from `paid` to `credited`. Its id is made of what was paid before: whoever computes the same
    /// difference pays it once.
    fn payment(&self, paid: u64, credited: Ehash) -> Option<WaitPaymentResponse> {
        let missing = credited.get().checked_sub(paid).filter(|missing| *missing > 0)?;
        Some(WaitPaymentResponse {
            payment_identifier: PaymentIdentifier::CustomId(self.request()),
            payment_amount: Amount::new(missing, self.unit.to_cashu()),
            payment_id: format!("{}:{paid}", self.request()),
        })
    }
}

/// The payout key of a quote's key: both are the point's x coordinate, as Schnorr signatures have it.
fn payout_key(pubkey: &PublicKey) -> Result<PayoutKey, work::IdentityError> {
    let x_only = pubkey.x_only_public_key();
    PayoutKey::from_bytes(x_only.serialize())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[test]
    fn requests_tell_their_owner() {
        let owner = Owner { unit: EpochUnit(Epoch(7)), key: KEY.parse().unwrap() };
        assert_eq!(Owner::parse(&owner.request()), Some(owner));
        for foreign in ["", "ehash", "ehash:", "ehash:ehash-7", "ehash:sat:x", "lnbc1"] {
            assert_eq!(Owner::parse(foreign), None);
        }
    }

    #[test]
    fn a_payment_is_the_difference_and_named_after_what_was_before() {
        let owner = Owner { unit: EpochUnit(Epoch(7)), key: KEY.parse().unwrap() };
        assert!(owner.payment(5, Ehash::new(5)).is_none());
        assert!(owner.payment(6, Ehash::new(5)).is_none());
        let payment = owner.payment(5, Ehash::new(12)).unwrap();
        assert_eq!(payment.payment_amount.value(), 7);
        assert!(payment.payment_id.ends_with(":5"));
        assert_eq!(owner.payment(5, Ehash::new(13)).unwrap().payment_id, payment.payment_id);
    }

    #[test]
    fn both_forms_of_a_key_are_one() {
        for form in ["02", "03"] {
            let pubkey = PublicKey::from_hex(format!("{form}{KEY}")).unwrap();
            assert_eq!(payout_key(&pubkey).unwrap(), KEY.parse().unwrap());
        }
    }
}
