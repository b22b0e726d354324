//! Percentiles: of any number of measurements in bounded memory, and of lists that are short enough to be kept.

/// Buckets for each doubling of the value: a percentile is at most 1/64 too large.
const SUB_BITS: u32 = 6;
const SUB: usize = 1 << SUB_BITS;
/// Greatest value that is told from larger ones: 2^40 µs are twelve days.
const MAX_BITS: u32 = 40;
const BUCKETS: usize = 2 * SUB + (MAX_BITS - SUB_BITS - 1) as usize * SUB;

/// Counts of values, such as microseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), count: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The greatest value.
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// The least value that at least `percent` of all do not exceed, at most 1/64 too large.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let rank = rank(self.count, percent)?;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(greatest_of(index).min(self.max));
            }
        }
        None
    }
}

/// The percentile of a sorted list: the least value that at least `percent` of all do not exceed.
pub fn nearest_rank(sorted: &[u64], percent: u64) -> Option<u64> {
    debug_assert!(sorted.is_sorted());
    let rank = rank(sorted.len() as u64, percent)?;
    sorted.get(usize::try_from(rank - 1).ok()?).copied()
}

/// Which of `count` values, counted from 1.
fn rank(count: u64, percent: u64) -> Option<u64> {
    if count == 0 {
        return None;
    }
    let rank = (u128::from(count) * u128::from(percent.min(100))).div_ceil(100).max(1);
    u64::try_from(rank).ok()
}

fn bucket(value: u64) -> usize {
    let value = value.min((1 << MAX_BITS) - 1);
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(SUB_BITS + 1);
    // Below 2^(SUB_BITS + 1) every value has a bucket of its own; from there on the leading bits decide.
    let leading = usize::try_from(value >> shift).unwrap_or(usize::MAX);
    shift as usize * SUB + leading
}

/// The greatest value in a bucket.
fn greatest_of(bucket: usize) -> u64 {
    let shift = (bucket / SUB).saturating_sub(1);
    let leading = (bucket - shift * SUB) as u64;
    ((leading + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_lists_are_those_of_the_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).collect();
        for (list, percent, expected) in [
            (&[][..], 50, None),
            (&[7], 0, Some(7)),
            (&[7], 50, Some(7)),
            (&[7], 100, Some(7)),
            (&[1, 2], 50, Some(1)),
            (&[1, 2], 51, Some(2)),
            (&[1, 2, 3], 50, Some(2)),
            (&[1, 2, 3, 4], 99, Some(4)),
            (&hundred, 50, Some(50)),
            (&hundred, 99, Some(99)),
            (&hundred, 100, Some(100)),
            (&hundred, 200, Some(100)),
        ] {
            assert_eq!(nearest_rank(list, percent), expected, "{percent} % of {list:?}");
        }
    }

    #[test]
    fn every_value_lies_in_its_bucket() {
        assert_eq!(bucket((1 << MAX_BITS) - 1), BUCKETS - 1);
        let mut values: Vec<u64> = (0..4096).collect();
        values.extend((7..MAX_BITS).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]));
        for value in values {
            let bucket = bucket(value);
            assert!(value <= greatest_of(bucket), "{value}");
            assert!(bucket == 0 || greatest_of(bucket - 1) < value, "{value}");
            assert!(greatest_of(bucket) - value <= value / 64, "{value}");
        }
    }

    #[test]
    fn values_beyond_the_scale_are_counted_in_the_last_bucket() {
        let mut histogram = Histogram::default();
        histogram.record(u64::MAX);
        assert_eq!(histogram.count(), 1);
        assert_eq!(histogram.max(), Some(u64::MAX));
        assert_eq!(histogram.percentile(50), Some((1 << MAX_BITS) - 1));
    }

    #[test]
    fn an_empty_histogram_has_no_percentiles() {
        assert_eq!(Histogram::default().percentile(50), None);
        assert_eq!(Histogram::default().max(), None);
    }

    proptest::proptest! {
        #[test]
        fn a_histogram_says_what_the_list_says(
            mut values in proptest::collection::vec(0u64..10_000_000, 1..300),
            percent in 0u64..=100,
            cut in 0usize..300,
        ) {
            let (mut histogram, mut other) = (Histogram::default(), Histogram::default());
            for (at, value) in values.iter().enumerate() {
                if at < cut { histogram.record(*value) } else { other.record(*value) }
            }
            histogram.merge(&other);
            values.sort_unstable();
            let exact = nearest_rank(&values, percent).unwrap();
            let about = histogram.percentile(percent).unwrap();
            proptest::prop_assert!(exact <= about && about <= exact + exact / 64);
            proptest::prop_assert_eq!(histogram.max(), values.last().copied());
        }
    }
}
