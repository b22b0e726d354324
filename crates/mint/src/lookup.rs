//! Which quotes a key has, for whoever proves to have the key.
//!
//! A wallet that has only its seed finds its quotes by this, as the draft for NUT-20 has it (nuts#341): it signs
//! `"Cashu_MintQuoteLookup_v1" ‖ mint's key ‖ its key`, so that a signature is good for one mint and one key, and nobody can
//! ask for other people's quotes. An address tells of the epochs that it shows.

use crate::{EpochUnit, quotes::Quotes, refusal::RefusalAnswer};
use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bitcoin::secp256k1::schnorr::Signature;
use cdk::{
    error::ErrorCode,
    nuts::{MintQuoteCustomResponse, PublicKey},
};
use cdk_common::QuoteId;
use serde::Deserialize;
use std::str::FromStr;

/// What a signature is for.
const PURPOSE: &[u8] = b"Cashu_MintQuoteLookup_v1";
/// Most keys asked for at once.
const MOST_KEYS: usize = 64;

#[derive(Deserialize)]
struct LookupRequest {
    pubkeys: Vec<PublicKey>,
    pubkey_signatures: Vec<String>,
}

/// Answers with the quotes of the keys in these epochs that there is credit for.
pub(crate) async fn quotes_of(
    quotes: &Quotes,
    mint_key: Option<PublicKey>,
    shown: &[EpochUnit],
    body: &[u8],
) -> Result<Response, RefusalAnswer> {
    let LookupRequest { pubkeys, pubkey_signatures } =
        serde_json::from_slice(body).map_err(|error| RefusalAnswer::in_words(error.to_string()))?;
    if pubkeys.len() != pubkey_signatures.len() || pubkeys.len() > MOST_KEYS {
        return Err(RefusalAnswer::in_words(format!(
            "`pubkeys` and `pubkey_signatures` must be as many, and at most {MOST_KEYS}"
        )));
    }
    let mint_key =
        mint_key.ok_or_else(|| RefusalAnswer::unavailable("the mint has no key yet; try again later"))?;
    for (key, signature) in pubkeys.iter().zip(&pubkey_signatures) {
        let proved = Signature::from_str(signature)
            .is_ok_and(|signature| key.verify(&message(&mint_key, key), &signature).is_ok());
        if !proved {
            let detail = format!("the signature of {key} is not good for this mint");
            return Err(RefusalAnswer::new(
                StatusCode::BAD_REQUEST,
                ErrorCode::WitnessMissingOrInvalid,
                detail,
            ));
        }
    }
    let mut found = Vec::new();
    for key in &pubkeys {
        for unit in shown {
            let Some(quote) = quotes.with_credit(*unit, *key).await? else { continue };
            let quote = MintQuoteCustomResponse::<QuoteId>::try_from(quote);
            found.push(quote.map_err(|error| RefusalAnswer::in_words(error.to_string()))?);
        }
    }
    Ok(Json(serde_json::json!({ "quotes": found })).into_response())
}

/// What is signed; its SHA-256 is what Schnorr signatures are over.
fn message(mint_key: &PublicKey, key: &PublicKey) -> Vec<u8> {
    [PURPOSE, &mint_key.to_bytes(), &key.to_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_mint_and_key() {
        let key = |hex: &str| PublicKey::from_hex(hex).unwrap();
        let one = key("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
        let two = key("02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5");
        assert_eq!(message(&one, &two).len(), PURPOSE.len() + 66);
        assert_ne!(message(&one, &two), message(&two, &one));
    }
}
