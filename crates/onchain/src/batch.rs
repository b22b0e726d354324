//! Batches: one transaction for all payouts that wait.
//!
//! Everybody pays for their own output, and the same part of what the transaction costs besides. Coins are taken largest
//! first: that needs the fewest, and lets a fee be told before the batch is there.

use {
    crate::{
        OnchainError, OnchainWallet, PayoutId, StoreError, coins,
        payouts::{self, Pending, Wanted},
        wallet::Books,
    },
    bdk_wallet::{
        KeychainKind, LocalOutput, Utxo, Wallet as Bdk, WeightedUtxo,
        coin_selection::{CoinSelectionAlgorithm, Excess, InsufficientFunds, LargestFirstCoinSelection},
    },
    bitcoin::{
        Amount, FeeRate, OutPoint, Script, ScriptBuf, Transaction, TxIn, TxOut, Txid, Weight,
        absolute::LockTime, transaction::Version,
    },
    node::NodeError,
    rand::rngs::OsRng,
};

/// Least fee rate: nodes relay nothing cheaper by default.
pub const MIN_FEE_RATE: FeeRate = FeeRate::from_sat_per_kwu(250);
/// Most: half of what Bitcoin Core takes for a mistake.
pub const MAX_FEE_RATE: FeeRate = FeeRate::from_sat_per_kwu(1_250_000);
/// Most payouts in a transaction. With the next it stays far below the weight that nodes relay.
const MAX_PAYOUTS: usize = 200;
/// Most coins spent by a transaction.
const MAX_INPUTS: usize = 250;
/// Most transactions that wait for a block: nodes relay chains of 25 that spend each other's change.
const MAX_PENDING: usize = 20;
/// When BDK is to hold the transactions for seen. They never conflict, so the order does not matter.
const SEEN: u64 = 1;

/// What [`OnchainWallet::build_batch`] has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The transaction; none when nothing could be paid.
    pub txid: Option<Txid>,
    /// Its fee.
    pub fee: Amount,
    /// The payouts in it.
    pub signed: Vec<PayoutId>,
    /// The payouts that go on waiting, and why.
    pub left_out: Vec<(PayoutId, LeftOut)>,
}

/// Why a payout is not in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// There are not enough coins that may be spent.
    Funds,
    /// At this fee rate its part of the fee would be above its most.
    Fee,
    /// It would fit, but not with the others: it comes into a later one.
    Later,
}

/// What became of a transaction that was sent.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// The transaction.
    pub txid: Txid,
    /// Whether the node has it now.
    pub outcome: Result<(), NodeError>,
}

impl OnchainWallet {
    /// What transactions pay at present to be in one of the next `blocks` blocks, as the node estimates it, within what this
    /// wallet pays; none when the node cannot tell.
    ///
    /// # Errors
    /// When the node could not be asked.
    pub fn fee_rate(&self, blocks: u16) -> Result<Option<FeeRate>, OnchainError> {
        Ok(self.0.node.fee_rate(blocks)?.map(|rate| rate.clamp(MIN_FEE_RATE, MAX_FEE_RATE)))
    }

    /// The fee that has to be set aside for a payout, so that a batch at this fee rate takes it, alone or with others. It
    /// covers the worst: a payout that is alone, with one coin more than would do at present. What it really paid stands in
    /// its status.
    ///
    /// # Errors
    /// [`OnchainError::Funds`] when it could not be paid at present; others for what cannot be paid at all.
    pub fn estimate(&self, script: &Script, amount: Amount, rate: FeeRate) -> Result<Amount, OnchainError> {
        self.signer()?;
        check_rate(rate)?;
        self.check_output(script, amount)?;
        let mut books = self.books()?;
        let market = Market::of(&mut books, self.0.maturity, rate);
        let output = TxOut { script_pubkey: script.into(), value: amount };
        let change = TxOut { script_pubkey: market.change_script.clone(), value: Amount::ZERO };
        let funding = market
            .fund(std::slice::from_ref(&output))
            .map_err(|InsufficientFunds { needed, available }| OnchainError::Funds { needed, available })?;
        let inputs = market.input_weight() * (funding.coins.len() as u64 + 1);
        let weight = unfunded(vec![output, change]).weight() + inputs;
        // What would be too little for change of its own goes to the fee.
        Ok(rate * weight + market.change_script.minimal_non_dust())
    }

    /// Pays as many of the payouts that wait as can be, oldest first, with one transaction at this fee rate. It is signed
    /// and stored, and sent with [`OnchainWallet::broadcast_pending`].
    ///
    /// # Errors
    /// When nothing may be paid at present; then nothing has changed.
    pub fn build_batch(&self, rate: FeeRate) -> Result<Batch, OnchainError> {
        self.signer()?;
        check_rate(rate)?;
        let tip = self.0.node.tip()?;
        let mut books = self.books()?;
        let followed = books.tip();
        if followed != tip {
            return Err(OnchainError::Behind { followed, tip });
        }
        let failed = StoreError::sqlite("reading payouts");
        if let Some((txid, height)) = payouts::foreign(books.store.db()).map_err(&failed)? {
            return Err(OnchainError::ForeignSpend { txid, height });
        }
        let wanted = payouts::wanted(books.store.db()).map_err(&failed)?;
        if wanted.is_empty() {
            return Ok(Batch { txid: None, fee: Amount::ZERO, signed: Vec::new(), left_out: Vec::new() });
        }
        let pending = books.pending.len();
        if pending >= MAX_PENDING {
            return Err(OnchainError::TooManyPending { pending });
        }
        let market = Market::of(&mut books, self.0.maturity, rate);
        let (chosen, left_out) = market.choose(&wanted);
        let mut batch = Batch { txid: None, fee: Amount::ZERO, signed: Vec::new(), left_out };
        if let Some((chosen, funding)) = chosen {
            let paid = self.pay(&mut books, rate, &chosen, &funding)?;
            batch.txid = Some(paid);
            batch.fee = funding.fee;
            batch.signed = chosen.iter().map(|payout| payout.id.clone()).collect();
        }
        Ok(batch)
    }

    /// Signs and stores the transaction that pays the chosen ones.
    fn pay(
        &self,
        books: &mut Books,
        rate: FeeRate,
        chosen: &[&Wanted],
        funding: &Funding,
    ) -> Result<Txid, OnchainError> {
        books.change("storing a payout transaction", |bdk, db| {
            let transaction = self.sign(bdk, rate, chosen, funding)?;
            let sent: Amount = transaction.output.iter().map(|output| output.value).sum();
            if sent.checked_add(funding.fee) != Some(funding.value) {
                let text = format!("{} in coins are not {sent} and a fee of {}", funding.value, funding.fee);
                return Err(OnchainError::Build(text));
            }
            let txid = transaction.compute_txid();
            let failed = StoreError::sqlite("storing a payout transaction");
            let pending = Pending { txid, transaction, fee: funding.fee };
            payouts::insert_transaction(db, &pending).map_err(&failed)?;
            let vouts = outputs_of(&pending.transaction, chosen)?;
            for ((payout, vout), fee) in chosen.iter().zip(vouts).zip(shares(funding.fee, chosen, rate)) {
                payouts::sign(db, payout.number, OutPoint { txid, vout }, fee).map_err(&failed)?;
            }
            bdk.apply_unconfirmed_txs([(pending.transaction, SEEN)]);
            Ok(txid)
        })
    }

    fn sign(
        &self,
        bdk: &mut Bdk,
        rate: FeeRate,
        chosen: &[&Wanted],
        funding: &Funding,
    ) -> Result<Transaction, OnchainError> {
        let build = |error: &dyn std::fmt::Display| OnchainError::Build(error.to_string());
        let sign = |error: &dyn std::fmt::Display| OnchainError::Sign(error.to_string());
        let mut builder = bdk.build_tx().coin_selection(LargestFirstCoinSelection);
        builder.add_utxos(&funding.coins).map_err(|error| build(&error))?;
        builder
            .manually_selected_only()
            .set_recipients(chosen.iter().map(|payout| (payout.script.clone(), payout.amount)).collect())
            .fee_rate(rate)
            // Good on every branch of the chain, also on one that is shorter for a moment.
            .nlocktime(LockTime::ZERO);
        let mut psbt = builder.finish().map_err(|error| build(&error))?;
        let master = self.signer()?.master(self.0.network.into());
        psbt.sign(&master, bdk.secp_ctx()).map_err(|(_, errors)| sign(&format!("{errors:?}")))?;
        let outcome = bdk.try_finalize_psbt(&mut psbt).map_err(|error| sign(&error))?;
        if !outcome.is_finalized() {
            return Err(sign(&"the seed phrase has no key for some coin"));
        }
        psbt.extract_tx().map_err(|error| sign(&error))
    }

    /// Sends every payout transaction that no block holds, parents first. One that the node has already is no error; one that it
    /// refuses stays, and is sent again the next time.
    ///
    /// # Errors
    /// When the file cannot be read. What the node says stands beside each transaction.
    pub fn broadcast_pending(&self) -> Result<Vec<Broadcast>, OnchainError> {
        let pending = self.books()?.pending.clone();
        let send = |pending: Pending| {
            let outcome = self.0.node.broadcast(&pending.transaction).map(drop);
            Broadcast { txid: pending.txid, outcome }
        };
        Ok(pending.into_iter().map(send).collect())
    }
}

fn check_rate(rate: FeeRate) -> Result<(), OnchainError> {
    let (min, max) = (MIN_FEE_RATE, MAX_FEE_RATE);
    if (min..=max).contains(&rate) { Ok(()) } else { Err(OnchainError::FeeRate { rate, min, max }) }
}

/// The coins that may be spent, at a fee rate.
struct Market {
    coins: Vec<WeightedUtxo>,
    rate: FeeRate,
    change_script: ScriptBuf,
}

/// Coins that pay for some payouts.
#[derive(Debug)]
struct Funding {
    coins: Vec<OutPoint>,
    /// What they are worth together.
    value: Amount,
    /// What is neither paid out nor change.
    fee: Amount,
}

type Chosen<'a> = (Vec<&'a Wanted>, Funding);

impl Market {
    fn of(books: &mut Books, maturity: u32, rate: FeeRate) -> Market {
        let largest: Vec<LocalOutput> =
            books.coins(maturity).spendable().into_iter().take(MAX_INPUTS).cloned().collect();
        debug_assert!(coins::sum(&largest) <= Amount::MAX_MONEY);
        let bdk = &books.bdk;
        let next = bdk.next_derivation_index(KeychainKind::Internal);
        let change_script = bdk.peek_address(KeychainKind::Internal, next).script_pubkey();
        let coins = largest.into_iter().map(|coin| weighted(bdk, coin)).collect();
        Market { coins, rate, change_script }
    }

    /// Weight of the heaviest input.
    fn input_weight(&self) -> Weight {
        let heaviest = self.coins.iter().map(|coin| coin.satisfaction_weight).max();
        TxIn::default().segwit_weight() + heaviest.unwrap_or(Weight::ZERO)
    }

    /// The coins for these outputs, as BDK chooses them.
    fn fund(&self, outputs: &[TxOut]) -> Result<Funding, InsufficientFunds> {
        let sent: Amount = outputs.iter().map(|output| output.value).sum();
        let target = sent + self.rate * unfunded(outputs.to_vec()).weight();
        let (coins, script) = (self.coins.clone(), &self.change_script);
        let chosen = LargestFirstCoinSelection.coin_select(
            Vec::new(),
            coins,
            self.rate,
            target,
            script,
            &mut OsRng,
        )?;
        let change = match chosen.excess {
            Excess::Change { amount, .. } => amount,
            Excess::NoChange { .. } => Amount::ZERO,
        };
        let value = chosen.selected_amount();
        let coins = chosen.selected.iter().map(Utxo::outpoint).collect();
        Ok(Funding { coins, value, fee: value - sent - change })
    }

    /// The coins for these payouts, if there are enough, and which of the payouts can bear their part of the fee.
    fn quote(&self, payouts: &[&Wanted]) -> Option<(Funding, Vec<bool>)> {
        let outputs: Vec<TxOut> = payouts.iter().map(|payout| output(payout)).collect();
        let funding = self.fund(&outputs).ok()?;
        let shares = shares(funding.fee, payouts, self.rate);
        let fit = payouts.iter().zip(shares).map(|(payout, share)| share <= payout.max_fee).collect();
        Some((funding, fit))
    }

    fn fits(&self, payouts: &[&Wanted]) -> Option<Funding> {
        self.quote(payouts).filter(|(_, fit)| !fit.contains(&false)).map(|(funding, _)| funding)
    }

    /// The payouts for one transaction, and why the others are not in it.
    fn choose<'a>(&self, wanted: &'a [Wanted]) -> (Option<Chosen<'a>>, Vec<(PayoutId, LeftOut)>) {
        let chosen = self.shrink(wanted).or_else(|| self.grow(wanted));
        let is_in = |payout: &Wanted| {
            chosen
                .as_ref()
                .is_some_and(|(chosen, _)| chosen.iter().any(|in_it| in_it.number == payout.number))
        };
        let reason = |payout: &Wanted| match self.quote(&[payout]) {
            None => LeftOut::Funds,
            Some((_, fit)) if fit.contains(&false) => LeftOut::Fee,
            Some(_) => LeftOut::Later,
        };
        let out = wanted.iter().filter(|payout| !is_in(payout));
        let left_out = out.map(|payout| (payout.id.clone(), reason(payout))).collect();
        (chosen, left_out)
    }

    /// Begins with all, and leaves out those that cannot bear their part until all can.
    fn shrink<'a>(&self, wanted: &'a [Wanted]) -> Option<Chosen<'a>> {
        let mut chosen: Vec<&Wanted> = wanted.iter().take(MAX_PAYOUTS).collect();
        while !chosen.is_empty() {
            let (funding, fit) = self.quote(&chosen)?;
            if !fit.contains(&false) {
                return Some((chosen, funding));
            }
            let fitting = chosen.into_iter().zip(fit).filter(|(_, fits)| *fits);
            chosen = fitting.map(|(payout, _)| payout).collect();
        }
        None
    }

    /// Begins with none, and takes each that the ones before and itself can bear. Whoever has set aside what
    /// [`OnchainWallet::estimate`] said is taken when their turn comes.
    fn grow<'a>(&self, wanted: &'a [Wanted]) -> Option<Chosen<'a>> {
        let mut best = None;
        let mut chosen: Vec<&Wanted> = Vec::new();
        for payout in wanted {
            if chosen.len() == MAX_PAYOUTS {
                break;
            }
            chosen.push(payout);
            match self.fits(&chosen) {
                Some(funding) => best = Some(funding),
                None => drop(chosen.pop()),
            }
        }
        best.map(|funding| (chosen, funding))
    }
}

fn weighted(bdk: &Bdk, coin: LocalOutput) -> WeightedUtxo {
    let weight = bdk.public_descriptor(coin.keychain).max_weight_to_satisfy();
    let satisfaction_weight = weight.expect("BDK checks descriptors when it takes them");
    WeightedUtxo { satisfaction_weight, utxo: Utxo::Local(coin) }
}

fn output(payout: &Wanted) -> TxOut {
    TxOut { script_pubkey: payout.script.clone(), value: payout.amount }
}

/// A transaction before its coins are chosen.
fn unfunded(output: Vec<TxOut>) -> Transaction {
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: Vec::new(), output }
}

/// What each pays of a fee: for its own output by weight, and of the rest the same as everybody. They sum to the fee.
fn shares(fee: Amount, payouts: &[&Wanted], rate: FeeRate) -> Vec<Amount> {
    // Rounded down, so that they never exceed the whole.
    let own = |payout: &Wanted| output(payout).weight().to_wu() * rate.to_sat_per_kwu() / 1000;
    let own: Vec<u64> = payouts.iter().map(|payout| own(payout)).collect();
    let rest = fee.to_sat().checked_sub(own.iter().sum()).expect("the fee covers every output");
    let count = payouts.len() as u64;
    let (each, odd) = (rest / count, rest % count);
    let share = |(place, own)| Amount::from_sat(own + each + u64::from(place < odd));
    let shares: Vec<Amount> = (0..).zip(own).map(share).collect();
    assert_eq!(shares.iter().copied().sum::<Amount>(), fee, "the parts are the whole");
    shares
}

/// Which output pays which payout: those to the same script with the same amount in any order.
fn outputs_of(transaction: &Transaction, payouts: &[&Wanted]) -> Result<Vec<u32>, OnchainError> {
    let mut taken = vec![false; transaction.output.len()];
    let mut vouts = Vec::with_capacity(payouts.len());
    for payout in payouts {
        let output = output(payout);
        let place = (0..taken.len()).find(|&place| !taken[place] && transaction.output[place] == output);
        let place = place.ok_or_else(|| OnchainError::Build(format!("it does not pay {}", payout.id)))?;
        taken[place] = true;
        vouts.push(u32::try_from(place).expect("a transaction has few outputs"));
    }
    Ok(vouts)
}

#[cfg(test)]
mod tests;
