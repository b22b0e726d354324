//! The few HTTP requests that the tests make: the pool's pages and the node's JSON-RPC.

use std::time::Duration;

/// Longer than a healthy answer takes on a loaded machine, shorter than any test's own deadline.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A complete answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// Gets `url`. Errors are those of the transport: an HTTP error status is an [`Answer`].
pub fn get(url: &str) -> Result<Answer, ureq::Error> {
    read(agent().get(url).call()?)
}

/// Posts `body` to `url` with the credentials `user:password`.
pub fn post(url: &str, credentials: &str, body: &str) -> Result<Answer, ureq::Error> {
    let authorization = format!("Basic {}", base64(credentials.as_bytes()));
    read(
        agent()
            .post(url)
            .header("Authorization", authorization)
            .content_type("application/json")
            .send(body)?,
    )
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build().into()
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    // Blocks in hex are the largest thing read: far above ureq's default of 10 MB at worst.
    let body = response.body_mut().with_config().limit(64 << 20).read_to_string()?;
    Ok(Answer { status: response.status().as_u16(), body })
}

/// RFC 4648 base64 with padding: basic authentication wants it, and nothing else here does.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| (group << 8) | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = (group >> (18 - 6 * place)) & 0x3f;
            text.push(if place <= chunk.len() { char::from(ALPHABET[digit as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
