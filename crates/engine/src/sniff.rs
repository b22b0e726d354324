//! Tells a peer that talks text (a Stratum V1 device, a browser) from one that starts a Noise
//! handshake, by its first bytes.
//!
//! An ElligatorSwift key is 64 uniformly random bytes, so one byte decides nothing: every 256th honest
//! client begins with `{`. Sixteen printable bytes in a row of which the first is `{` happen to an
//! honest client about once in 10^9 handshakes, and it would simply connect again.

/// Bytes that are looked at.
const PROBE: usize = 16;

/// What the first bytes of a connection look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// Too few bytes to tell.
    Undecided,
    /// Not text: a Noise handshake, or noise.
    Binary,
    /// A JSON object: Stratum V1. The place to hand the connection to an SV1 front.
    Json,
    /// Some other text, HTTP for instance.
    Text,
}

/// Judges the first bytes of a connection.
pub(crate) fn opening(first: &[u8]) -> Opening {
    let probe = &first[..first.len().min(PROBE)];
    if probe.iter().any(|byte| !matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~')) {
        return Opening::Binary;
    }
    match probe {
        probe if probe.len() < PROBE => Opening::Undecided,
        [b'{', ..] => Opening::Json,
        // Any printable start is 40 times likelier by chance than `{`: still 1 in 4 million, and
        // such a client only has to connect again.
        _ => Opening::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_text_from_keys() {
        #[track_caller]
        fn case(first: &[u8], expected: Opening) {
            assert_eq!(opening(first), expected, "{first:?}");
        }
        case(b"", Opening::Undecided);
        case(b"{", Opening::Undecided);
        case(b"{\"id\": 1", Opening::Undecided);
        case(b"{\"id\": 1, \"method\": \"mining.subscribe\"", Opening::Json);
        case(b"{\"id\":1,\"method\":\"mining.configure\"}\n", Opening::Json);
        case(b"GET / HTTP/1.1\r\nHost: pool\r\n", Opening::Text);
        case(&[0x7b; 64], Opening::Json);
        case(&[b'{', 0x00], Opening::Binary);
        case(b"{\"id\":1,\"method\x80", Opening::Binary);
        case(&[0xff], Opening::Binary);
    }
}
