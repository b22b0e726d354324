//! The configuration file of `assay pool`: any text is a configuration that a pool can start with, or an error that
//! says what to do.

use assay::config::PoolFile;

/// The file's text.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let secret = "wHoKnOwS";
    let file = match PoolFile::parse(text) {
        Ok(file) => file,
        Err(error) => return assert!(!format!("{error:#}").is_empty()),
    };
    assert!(!format!("{file:?}").contains(secret), "a password was shown");
    match file.resolve() {
        Ok(resolved) => {
            let wallet = resolved.redemption.is_some();
            assert!(resolved.payout_script.as_ref().is_none_or(|script| !script.is_empty() && !wallet));
            assert!(resolved.payout_script.is_some() || wallet, "the rewards go somewhere");
            let pool = resolved.pool(bitcoin::ScriptBuf::new());
            assert!(pool.tag.len() <= pool::MAX_TAG_LEN);
            assert!(resolved.shards > 0 && resolved.limits.connections > 0);
            assert!(resolved.epochs.validate().is_ok());
            assert!(resolved.certificate_validity.as_secs() >= 3600);
            assert!(u32::try_from(resolved.certificate_validity.as_secs()).is_ok());
        }
        Err(error) => {
            let text = format!("{error:#}");
            assert!(!text.is_empty() && !text.contains(secret));
        }
    }
}

/// The example with what it leaves open filled in, as it is, and each of its fields with a value of its own.
pub fn seeds() -> Vec<Vec<u8>> {
    let example = include_str!("../../../docs/assay.example.toml");
    let lines =
        example.lines().filter(|line| !line.starts_with("# ") || line.contains(" = ") || line.contains('['));
    let bare: String = lines.flat_map(|line| [line, "\n"]).collect();
    let address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    let works = bare.replace("bc1q…", address);
    let open: String = works
        .lines()
        .map(|line| {
            line.strip_prefix("# ").filter(|rest| rest.contains(" = ") && !rest.contains('…')).unwrap_or(line)
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let short = format!(
        "data_dir = \"d\"\n[pool]\npayout_address = \"{address}\"\n[node]\nurl = \"http://n\"\nuser = \"u\"\npassword = \"wHoKnOwS\"\nnetwork = \"main\"\n"
    );
    let mut seeds = vec![example.into(), works.into_bytes(), open.into_bytes(), short.clone().into_bytes()];
    for more in [
        "[limits]\nbuffer_memory_mib = 18446744073709551615\n",
        "[limits]\nchannels_per_connection = 65535\nledger_patience_seconds = 9223372036854775807\n",
        "[noise]\ncertificate_hours = 8760\n",
        "[epochs]\nq = 17\n",
        "[http]\nlisten = \"[::1]:0\"\n",
    ] {
        seeds.push(format!("{short}{more}").into_bytes());
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A target whose inputs are all refused would try little.
    #[test]
    fn some_seeds_can_be_used() {
        let seeds = seeds();
        let used = seeds.iter().filter(|seed| {
            let text = std::str::from_utf8(seed).expect("seeds are texts");
            PoolFile::parse(text).is_ok_and(|file| file.resolve().is_ok())
        });
        assert!(used.count() >= 3);
    }
}
