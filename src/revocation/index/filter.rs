//! What the gate asks first: a blocked Bloom filter over everything that the tables hold.
//!
//! Owns the keys under which entries are marked, and the bits. It may say "perhaps" of what is not held, never
//! "no" of what is. Knows nothing of ends or tables.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

use crate::revocation::entry::RevocationKind;

/// With four bits of one word for each entry, at most about one look-up in two hundred says "perhaps" for nothing.
const BITS_PER_ENTRY: usize = 16;
/// Two KiB: so that small sets do not rebuild again and again.
const SMALLEST: usize = 1024;
/// The bits of a key that hold its kind.
const KIND_BITS: u64 = 0b111;

/// Where an entry is marked. Its lowest bits are one more than its kind, so that who holds the key can count by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FilterKey(NonZero<u64>);

impl FilterKey {
    /// The kind that it was made for.
    pub(super) fn kind(self) -> Option<RevocationKind> {
        let number = usize::try_from(self.0.get() & KIND_BITS).ok()?;
        RevocationKind::ALL.get(number.checked_sub(1)?).copied()
    }

    /// Four bits of a word, from bits that have no part in choosing the word.
    fn bits(self) -> u64 {
        let bit = |shift: u32| 1_u64 << ((self.0.get() >> shift) & 63);
        bit(3) | bit(9) | bit(15) | bit(21)
    }
}

/// Makes the keys of one issuer's values: its share of them is worked out once for all values of a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct IssuerKeys {
    seed: u64,
}

impl IssuerKeys {
    pub(super) fn new(issuer: &str) -> Self {
        let mut hasher = FoldHasher::with_seed(0, process_seed());
        hasher.write(issuer.as_bytes());
        Self {
            seed: hasher.finish(),
        }
    }

    #[inline]
    pub(super) fn key(self, kind: RevocationKind, value: &[u8]) -> FilterKey {
        let number = NonZero::<u64>::MIN.saturating_add(kind as u64);
        // An odd constant, so that the kinds' seeds differ in many bits.
        let apart = number.get().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let seed = self.seed.wrapping_add(apart);
        let mut hasher = FoldHasher::with_seed(seed, process_seed());
        match (kind, value.first_chunk()) {
            // Hashes already: half of them is as good as the whole, and quicker.
            (RevocationKind::Key | RevocationKind::Token, Some(half)) => {
                hasher.write_u128(u128::from_ne_bytes(*half));
            }
            _ => hasher.write(value),
        }
        FilterKey(number | (hasher.finish() & !KIND_BITS))
    }
}

/// Random in each process, so that nobody outside can aim at a word; the same for all of it, so that keys worked out
/// once are good everywhere.
fn process_seed() -> &'static SharedSeed {
    static SEED: OnceLock<SharedSeed> = OnceLock::new();
    // The standard library's state is seeded by the operating system, foldhash's own by addresses and the time.
    SEED.get_or_init(|| SharedSeed::from_u64(RandomState::new().hash_one(0)))
}

/// The bits. Set by the index's writer while readers look; cleared only by building another filter.
#[derive(Debug)]
pub(super) struct Filter {
    words: Box<[AtomicU64]>,
    capacity: usize,
}

impl Filter {
    /// Empty, for that many entries and half as many again.
    pub(super) fn for_entries(entries: usize) -> Self {
        let capacity = entries.saturating_add(entries / 2).max(SMALLEST);
        let words = capacity.saturating_mul(BITS_PER_ENTRY) / 64;
        Self {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            capacity,
        }
    }

    /// How many entries it is for; beyond, it says "perhaps" more often.
    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn mark(&self, key: FilterKey) {
        if let Some(word) = self.words.get(self.place(key)) {
            // Pairs with the load in `word`: who sees the bits sees the entry in its table.
            word.fetch_or(key.bits(), Ordering::Release);
        }
    }

    /// The word of that key. To load the words of several keys before the first is looked at lets the processor fetch
    /// them at the same time.
    #[inline]
    pub(super) fn word(&self, key: FilterKey) -> u64 {
        self.words
            .get(self.place(key))
            // There is always one; if not, the tables decide.
            .map_or(u64::MAX, |word| word.load(Ordering::Acquire))
    }

    /// Whether an entry may be marked in that word, which is the key's.
    #[inline]
    pub(super) fn may_hold(word: u64, key: FilterKey) -> bool {
        word & key.bits() == key.bits()
    }

    /// The key as a fraction of the words, by its upper bits.
    #[inline]
    fn place(&self, key: FilterKey) -> usize {
        let scaled = (u128::from(key.0.get()) * self.words.len() as u128) >> 64;
        usize::try_from(scaled).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(from: u64, count: u64) -> impl Iterator<Item = FilterKey> {
        let issuer = IssuerKeys::new("https://id.example.com/");
        (from..from + count).map(move |number| {
            let kind = RevocationKind::ALL[usize::try_from(number % 6).unwrap()];
            issuer.key(kind, &number.to_be_bytes().repeat(4))
        })
    }

    #[test]
    fn what_is_marked_is_found_and_little_else() {
        let filter = Filter::for_entries(20_000);
        keys(0, 30_000).for_each(|key| filter.mark(key));
        assert!(keys(0, 30_000).all(|key| Filter::may_hold(filter.word(key), key)));
        let wrong = keys(1 << 40, 30_000)
            .filter(|key| Filter::may_hold(filter.word(*key), *key))
            .count();
        assert!(wrong < 300, "{wrong} of 30000 for nothing");
    }

    #[test]
    fn a_key_tells_its_kind() {
        let all: Vec<_> = keys(0, 6).map(|key| key.kind().unwrap()).collect();
        assert_eq!(all, RevocationKind::ALL);
    }

    #[test]
    fn issuers_and_kinds_have_keys_of_their_own() {
        let [one, other] = ["a", "b"].map(IssuerKeys::new);
        let key = one.key(RevocationKind::Jti, b"j-1");
        assert_eq!(key, one.key(RevocationKind::Jti, b"j-1"));
        assert_ne!(key, other.key(RevocationKind::Jti, b"j-1"));
        let session = one.key(RevocationKind::Session, b"j-1");
        assert_ne!(key.0.get() >> 3, session.0.get() >> 3);
    }
}
