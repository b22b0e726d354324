//! What the wallet tells, as people read it.

use std::fmt::Write;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use wallet::{
    Balance, Claimed, EpochBalance, HistoryLine, Holding, KeyOf, Received, Redeemed, Restored, Way,
};
use work::{Ehash, PayoutKey};

use crate::amount::{self, ehash};

pub fn key(key: &PayoutKey, of: KeyOf) -> String {
    let mut text = String::new();
    // Terminals are dark, so what is drawn there is what is light in the code, with the quiet zone around it.
    if let Ok(code) = QrCode::new(key.to_string()) {
        let drawn = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
        let _ = writeln!(text, "{drawn}");
    }
    let _ = write!(text, "payout key for {of}: {key}\nMine with it as user name, a worker name after a dot.");
    text
}

pub fn claimed(claimed: &Claimed) -> String {
    let mut text = String::new();
    for line in &claimed.epochs {
        let _ = writeln!(text, "epoch {}: {} eHash", line.epoch, ehash(line.claimed));
    }
    for line in &claimed.refused {
        let _ = writeln!(text, "epoch {}: not claimed: {}", line.epoch, line.reason);
    }
    match claimed.total() {
        Ehash::ZERO => text.push_str("nothing new to claim"),
        total => {
            let _ = write!(text, "claimed {} eHash", ehash(total));
        }
    }
    text
}

pub fn received(received: &Received) -> String {
    format!("received {}", some(received.of, received.amount))
}

pub fn taken_back(back: &Received) -> String {
    format!("{} came back", some(back.of, back.amount))
}

fn some(of: Holding, amount: u64) -> String {
    match of {
        Holding::Epoch(epoch) => format!("{} eHash of epoch {epoch}", ehash(Ehash::new(amount))),
        Holding::Sat => format!("{amount} sat of ecash"),
    }
}

pub fn redeemed(redeemed: &Redeemed) -> String {
    let Redeemed { of, spent, sats, state, outpoint } = redeemed;
    let spent = some(*of, *spent);
    let place = outpoint.as_deref().map(|outpoint| format!(" by {outpoint}")).unwrap_or_default();
    match state.as_str() {
        "paid" => format!("{sats} sat for {spent}, paid{place}"),
        _ => format!(
            "{sats} sat for at most {spent}: the mint pays them with the next transaction, whatever becomes of this \
             wallet; `assay wallet balance` then shows what is left of the fee"
        ),
    }
}

pub fn restored(restored: &Restored) -> String {
    let mut text = String::new();
    for line in &restored.epochs {
        let _ = writeln!(
            text,
            "epoch {}: {} eHash found, {} to claim",
            line.epoch,
            ehash(line.held),
            ehash(line.unclaimed)
        );
    }
    let asked = restored.newest.map_or(0, |newest| u64::from(newest.get()) + 1);
    let _ = write!(text, "{asked} epochs were asked for, {} had something", restored.epochs.len());
    text
}

pub fn balance(balance: &Balance) -> String {
    let mut text = String::new();
    for line in &balance.epochs {
        text.push_str(&epoch(line));
    }
    if let Some(sats) = balance.sats.filter(|sats| *sats > 0) {
        let _ = writeln!(text, "satoshi ecash: {sats} sat");
    }
    if balance.epochs.is_empty() && balance.sats.is_none_or(|sats| sats == 0) {
        text.push_str("the wallet is empty\n");
    }
    for note in &balance.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text.trim_end().to_owned()
}

fn epoch(line: &EpochBalance) -> String {
    let mut text = format!("epoch {}: {} eHash", line.epoch, ehash(line.held));
    if let Some(unclaimed) = line.unclaimed.filter(|amount| *amount > Ehash::ZERO) {
        let _ = write!(text, ", {} to claim", ehash(unclaimed));
    }
    text.push('\n');
    if let Some(pool) = &line.pool {
        let _ = write!(text, "  {}, pot {}", pool.state, amount::sats(pool.pot));
        if let Some(worth) = line.worth_msat {
            let _ = write!(text, ", worth {} so far", amount::sats(worth));
        }
        let _ = writeln!(text, "; can be redeemed {}", pool.matures());
    }
    text
}

pub fn history(lines: &[HistoryLine]) -> String {
    let mut text = String::new();
    for line in lines {
        let way = match line.way {
            Way::Claimed => "claimed",
            Way::Received => "received",
            Way::Sent => "sent",
            Way::Redeemed => "redeemed",
        };
        let _ =
            writeln!(text, "{}  {way:<8}  {}  {}", time(line.time), some(line.of, line.amount), line.status);
    }
    match text.trim_end() {
        "" => "nothing has come or gone".into(),
        lines => lines.into(),
    }
}

/// Seconds since 1970 as `2026-11-21 22:20:13 UTC`.
fn time(seconds: u64) -> String {
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    // Days of eras of 400 years that begin in March, so that the leap day is a year's last.
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{of_month:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(time(seconds), text);
        }
    }
}
