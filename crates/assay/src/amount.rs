//! Amounts as people read them.

use ledger::Msats;
use work::Ehash;

/// Digits in groups of three: `1,234,567`.
pub fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `734,765.625 sat`
pub fn sats(amount: Msats) -> String {
    let msats = amount.get();
    match msats % 1000 {
        0 => format!("{} sat", grouped(u128::from(msats / 1000))),
        rest => format!("{}.{rest:03} sat", grouped(u128::from(msats / 1000))),
    }
}

/// `844,424,930,131,968 (0.750 block)`: the amount, and how many blocks' expected work that is.
pub fn ehash(amount: Ehash) -> String {
    let thousandths = (u128::from(amount.get()) * 1000) >> Ehash::ONE_BLOCK_LOG2;
    format!("{} ({}.{:03} block)", grouped(u128::from(amount.get())), thousandths / 1000, thousandths % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn amounts_are_exact() {
        assert_eq!(sats(Msats::new(1_234_567_891)), "1,234,567.891 sat");
        assert_eq!(sats(Msats::new(5000)), "5 sat");
        assert_eq!(ehash(Ehash::new(3 << 48)), "844,424,930,131,968 (0.750 block)");
    }
}
