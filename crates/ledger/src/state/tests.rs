//! placeholder
use work::PayoutKey;
/// A payout key for each number, the same each time.
pub(crate) fn test_key(number: u8) -> PayoutKey {
    let mut bytes = [number; 32];
    (0..=255)
        .find_map(|last| {
            bytes[31] = last;
            PayoutKey::from_bytes(bytes).ok()
        })
        .unwrap()
}
