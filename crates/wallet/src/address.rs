//! Where the mint is: one address for the mint, and below it one for each epoch.

use crate::WalletError;
use cdk::{http_client, mint_url::MintUrl, nuts::CurrencyUnit};
use ledger::Epoch;
use serde::{Deserialize, de::DeserializeOwned};
use std::{fmt, str::FromStr, time::Duration};

/// What the name of every unit begins with; the epoch's number follows.
const UNIT: &str = "ehash-";
/// What stands between a mint's address and an epoch's number.
const BELOW: &str = "/e/";
/// What follows a mint's address for satoshi ecash.
pub(crate) const SAT: &str = "/sat";
/// No mint that opens an epoch a day comes to a later one in a thousand years: who says so wants us to ask for all.
const LAST: u32 = 400_000;
/// An answer that takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mint's address, such as `http://127.0.0.1:3338`. Epoch `n` is at `/e/<n>` below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintAddress(MintUrl);

/// The list of keysets, as far as we read it.
#[derive(Deserialize)]
struct Keysets {
    keysets: Vec<Keyset>,
}

#[derive(Deserialize)]
struct Keyset {
    unit: String,
}

/// The mint's words when it refuses.
#[derive(Deserialize)]
struct Refusal {
    detail: String,
}

/// What an address answered.
pub(crate) enum Answer<T> {
    Said(T),
    /// There is nothing here, in the mint's own words.
    Nothing(String),
}

impl MintAddress {
    /// The address of an epoch.
    pub(crate) fn of_epoch(&self, epoch: Epoch) -> MintUrl {
        let url = format!("{}{BELOW}{epoch}", self.0);
        url.parse().expect("a number below an address makes an address")
    }

    /// The address of satoshi ecash.
    pub(crate) fn of_sat(&self) -> MintUrl {
        format!("{}{SAT}", self.0).parse().expect("a word below an address makes an address")
    }

    /// Which epoch of this mint an address is of.
    pub(crate) fn epoch_of(&self, url: &MintUrl) -> Option<Epoch> {
        let (base, number) = split(url)?;
        (base == self.0.to_string()).then_some(number)
    }

    /// The newest epoch; `None` before the first is open.
    ///
    /// # Errors
    /// When the mint does not answer, or with rubbish.
    pub async fn newest(&self) -> Result<Option<Epoch>, WalletError> {
        match get::<Keysets>(&format!("{}/v1/keysets", self.0)).await? {
            Answer::Said(list) => {
                let newest = list.keysets.iter().filter_map(|keyset| epoch_of_unit(&keyset.unit)).max();
                match newest.filter(|newest| newest.get() > LAST) {
                    Some(absurd) => Err(WalletError::Refused(format!("it says that epoch {absurd} is open"))),
                    None => Ok(newest),
                }
            }
            Answer::Nothing(words) => Err(WalletError::Refused(words)),
        }
    }

    /// Whether the mint has an epoch's keyset; else what it says instead.
    pub(crate) async fn asks_for(&self, epoch: Epoch) -> Result<Answer<()>, WalletError> {
        let answer = get::<Keysets>(&format!("{}/v1/keysets", self.of_epoch(epoch))).await?;
        Ok(match answer {
            Answer::Said(_) => Answer::Said(()),
            Answer::Nothing(words) => Answer::Nothing(words),
        })
    }
}

impl FromStr for MintAddress {
    type Err = WalletError;

    fn from_str(text: &str) -> Result<Self, WalletError> {
        let refused = || WalletError::MintUrl(text.to_owned());
        let web = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
        let url: MintUrl = text.parse().map_err(|_| refused())?;
        // That it can be extended shows that it is whole.
        let whole = url.join("v1").is_ok() && !text.contains(['?', '#']);
        if !web || !whole || split(&url).is_some() {
            return Err(refused());
        }
        Ok(Self(url))
    }
}

impl fmt::Display for MintAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The unit of an epoch's eHash.
pub(crate) fn unit(epoch: Epoch) -> CurrencyUnit {
    CurrencyUnit::custom(format!("{UNIT}{epoch}"))
}

/// The epoch that a unit is of. One spelling alone: `ehash-07` would be another unit to the mint.
pub(crate) fn epoch_of_unit(unit: &str) -> Option<Epoch> {
    number(unit.strip_prefix(UNIT)?)
}

/// A mint's address and the epoch, from an epoch's address.
pub(crate) fn split(url: &MintUrl) -> Option<(String, Epoch)> {
    let text = url.to_string();
    let (base, last) = text.rsplit_once(BELOW)?;
    Some((base.to_owned(), number(last)?))
}

fn number(text: &str) -> Option<Epoch> {
    text.parse().ok().filter(|number: &u32| number.to_string() == text).map(Epoch)
}

/// A page of the mint's, as JSON.
///
/// # Errors
/// When nobody answers, or with a refusal.
pub async fn page<T: DeserializeOwned>(url: &str) -> Result<T, WalletError> {
    match get(url).await? {
        Answer::Said(page) => Ok(page),
        Answer::Nothing(words) => Err(WalletError::Refused(words)),
    }
}

/// Asks an address for JSON.
pub(crate) async fn get<T: DeserializeOwned>(url: &str) -> Result<Answer<T>, WalletError> {
    let unreachable = |reason: String| WalletError::Unreachable { url: url.to_owned(), reason };
    let client = http_client::HttpClient::new();
    let answer = tokio::time::timeout(PATIENCE, client.get_raw(url)).await;
    let answer = answer.map_err(|_| unreachable(format!("nothing came within {} s", PATIENCE.as_secs())))?;
    let answer = answer.map_err(|error| unreachable(error.to_string()))?;
    let (status, body) = (answer.status(), answer.body_lossy());
    if (200..300).contains(&status) {
        let said = serde_json::from_str(&body);
        return said.map(Answer::Said).map_err(|_| unreachable("it answers with something else".into()));
    }
    match serde_json::from_str::<Refusal>(&body) {
        // A bare 404 may come from a server in front of the mint.
        Ok(Refusal { detail }) if status == 404 => Ok(Answer::Nothing(detail)),
        Ok(Refusal { detail }) => Err(WalletError::Refused(detail)),
        Err(_) => Err(unreachable(format!("status {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_extended() {
        for (given, kept) in [
            ("http://127.0.0.1:3338", "http://127.0.0.1:3338"),
            ("https://Mint.Example/", "https://mint.example"),
            ("https://mint.example/pool", "https://mint.example/pool"),
        ] {
            let address: MintAddress = given.parse().unwrap();
            assert_eq!(address.to_string(), kept);
            let below = address.of_epoch(Epoch(7));
            assert_eq!(below.to_string(), format!("{kept}/e/7"));
            assert_eq!(address.epoch_of(&below), Some(Epoch(7)));
        }
        for refused in
            ["", "mint.example", "ftp://mint.example", "http://", "http://mint.example/e/7", "http://a/?b"]
        {
            assert!(matches!(refused.parse::<MintAddress>(), Err(WalletError::MintUrl(_))), "{refused}");
        }
        let address: MintAddress = "http://a".parse().unwrap();
        for foreign in ["http://b/e/7", "http://a/e/07", "http://a/e/x", "http://a"] {
            assert_eq!(address.epoch_of(&foreign.parse().unwrap()), None, "{foreign}");
        }
    }

    #[test]
    fn units_are_epochs() {
        assert_eq!(epoch_of_unit(&unit(Epoch(7)).to_string()), Some(Epoch(7)));
        for foreign in ["sat", "ehash-", "ehash-07", "ehash-+7", "ehash-4294967296"] {
            assert_eq!(epoch_of_unit(foreign), None, "{foreign}");
        }
    }
}
