//! Answers that refuse, in the words and codes of the NUTs.

use crate::quotes::QuoteError;
use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use cdk::error::{ErrorCode, ErrorResponse};
use http_body_util::{BodyExt, Limited};

/// Not among the NUTs' codes: wallets show the words beside a code that they do not know.
const OUR_OWN: u16 = 20_010;
/// Longest words of the web framework.
const MOST_WORDS: usize = 1 << 16;

/// An error that a wallet is told.
#[derive(Clone, Debug)]
pub(crate) struct RefusalAnswer {
    status: StatusCode,
    code: ErrorCode,
    detail: String,
}

impl RefusalAnswer {
    pub(crate) fn new(status: StatusCode, code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }

    /// With words for the wallet's user alone.
    pub(crate) fn in_words(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::Unknown(OUR_OWN), detail)
    }

    /// Something of the mint's own does not work at present.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unknown(OUR_OWN), detail)
    }

    /// The mint ends.
    pub(crate) fn stopping() -> Self {
        Self::unavailable("the mint is stopping")
    }

    /// There is nothing under this address.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::Unknown(OUR_OWN), detail)
    }
}

/// Has refusals of the web framework, which are bare text, say the same as NUT-00 has errors.
pub(crate) async fn in_nut_form(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !status.is_client_error() || kind.is_some_and(|kind| kind.starts_with("application/json")) {
        return response;
    }
    let read = Limited::new(response.into_body(), MOST_WORDS).collect().await;
    let words = read.map(|read| String::from_utf8_lossy(&read.to_bytes()).into_owned()).unwrap_or_default();
    let words =
        if words.is_empty() { "there is nothing like this at this address".to_owned() } else { words };
    RefusalAnswer::new(status, ErrorCode::Unknown(OUR_OWN), words).into_response()
}

impl From<QuoteError> for RefusalAnswer {
    fn from(error: QuoteError) -> Self {
        let detail = error.to_string();
        match error {
            QuoteError::Unit { .. } => Self::new(StatusCode::BAD_REQUEST, ErrorCode::UnsupportedUnit, detail),
            QuoteError::NoKey | QuoteError::Key(_) => {
                Self::new(StatusCode::BAD_REQUEST, ErrorCode::PubkeyRequired, detail)
            }
            QuoteError::Books(error) => {
                tracing::warn!(%error, "quotes cannot be brought up to date");
                Self::unavailable(detail)
            }
            QuoteError::Stopping => Self::stopping(),
            QuoteError::Overpaid { .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown(OUR_OWN), detail)
            }
            QuoteError::Mint(error) => {
                let ErrorResponse { code, detail } = error.into();
                Self::new(StatusCode::BAD_REQUEST, code, detail)
            }
            // What a database says is for the operator.
            QuoteError::Database(error) => {
                tracing::error!(%error, "the mint's database failed");
                let detail = "the mint's database cannot be used at present; try again later";
                Self::unavailable(detail)
            }
        }
    }
}

impl IntoResponse for RefusalAnswer {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorResponse::new(self.code, self.detail))).into_response()
    }
}
