//! The wallet's side of blind signatures, before and after the clock runs.

use crate::drive::Client;
use crate::mints::Quote;
use cdk::Amount;
use cdk::dhke::{blind_message, construct_proofs};
use cdk::nuts::{
    BlindSignature, BlindedMessage, CurrencyUnit, Id, Keys, MintRequest, Proofs, SecretKey, SwapRequest,
};
use cdk::secret::Secret;
use serde_json::Value;

/// The keyset that tokens are made in.
pub struct Keyset {
    id: Id,
    keys: Keys,
}

/// A unit's keyset, as the mint shows it.
pub fn keyset(client: &Client, unit: &CurrencyUnit) -> Keyset {
    let shown = client.get("/v1/keys");
    let keysets = shown["keysets"].as_array().expect("keysets");
    let ours = keysets.iter().find(|keyset| keyset["unit"] == unit.to_string()).expect("the unit's keyset");
    let id = ours["id"].as_str().expect("an id").parse().expect("a keyset's id");
    Keyset { id, keys: serde_json::from_value(ours["keys"].clone()).expect("keys") }
}

/// Outputs that were blinded and not signed yet.
pub struct Outputs {
    messages: Vec<BlindedMessage>,
    secrets: Vec<Secret>,
    factors: Vec<SecretKey>,
}

impl Outputs {
    /// `count` of one amount.
    pub fn new(keyset: &Keyset, amount: u64, count: usize) -> Outputs {
        let mut outputs = Outputs { messages: Vec::new(), secrets: Vec::new(), factors: Vec::new() };
        for _ in 0..count {
            let secret = Secret::generate();
            let (blinded, factor) = blind_message(secret.as_bytes(), None).expect("a point");
            outputs.messages.push(BlindedMessage::new(Amount::from(amount), keyset.id, blinded));
            outputs.secrets.push(secret);
            outputs.factors.push(factor);
        }
        outputs
    }

    /// Asks for them in exchange for a quote.
    pub fn claim_body(&self, quote: &Quote) -> String {
        let outputs = self.messages.clone();
        let mut request = MintRequest { quote: quote.id.clone(), outputs, signature: None };
        request.sign(&quote.key).expect("a signature");
        json(&request)
    }

    /// What they are once the mint has signed.
    pub fn proofs(self, answer: &Value, keyset: &Keyset) -> Proofs {
        let signatures: Vec<BlindSignature> =
            serde_json::from_value(answer["signatures"].clone()).expect("signatures");
        construct_proofs(signatures, self.factors, self.secrets, &keyset.keys).expect("the mint's signatures")
    }
}

pub fn swap_body(inputs: Proofs, outputs: &Outputs) -> String {
    json(&SwapRequest::new(inputs, outputs.messages.clone()))
}

/// `inputs` in JSON pay a melt quote.
pub fn melt_body(quote: &Value, inputs: &str) -> String {
    format!("{{\"quote\":{quote},\"inputs\":{inputs}}}")
}

pub fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("strings and numbers")
}
