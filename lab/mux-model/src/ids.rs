//! Names of things, in Mux's shapes.

use crate::secret::Secret;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Two of these make an id of 44 characters, which is what Mux's samples have.
const DIGITS: usize = 22;

/// Where ids, stream keys and request ids come from.
pub trait Ids: Send {
    /// A number that did not come before.
    fn next(&mut self) -> u128;

    /// The same source, for the clone of a model.
    fn boxed(&self) -> Box<dyn Ids>;
}

impl Clone for Box<dyn Ids> {
    fn clone(&self) -> Self {
        self.as_ref().boxed()
    }
}

/// Ids that are the same for the same seed.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// A source that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Ids for Seeded {
    fn next(&mut self) -> u128 {
        (u128::from(self.word()) << 64) | u128::from(self.word())
    }

    fn boxed(&self) -> Box<dyn Ids> {
        Box::new(self.clone())
    }
}

/// An id of 44 letters and digits.
pub(crate) fn object_id(ids: &mut dyn Ids) -> String {
    let mut text = String::with_capacity(2 * DIGITS);
    for _ in 0..2 {
        let mut number = ids.next();
        for _ in 0..DIGITS {
            text.push(char::from(ALPHABET[usize::try_from(number % 62).unwrap_or(0)]));
            number /= 62;
        }
    }
    text
}

/// A UUID of version 4: the shape of stream keys and request ids.
pub(crate) fn uuid(ids: &mut dyn Ids) -> String {
    let number = ids.next() & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let text = format!("{number:032x}");
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

/// A fresh stream key.
pub(crate) fn stream_key(ids: &mut dyn Ids) -> Secret {
    Secret::new(uuid(ids))
}

/// Whether Mux can parse it. Unknown: where it draws the line; its ids are 32 to 46 letters and digits.
pub(crate) fn is_well_formed(id: &str) -> bool {
    (32..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_names_the_same_things() {
        let name = |seed| object_id(&mut Seeded::new(seed));
        assert_eq!(name(7), name(7));
        assert_ne!(name(7), name(8));
        assert!(is_well_formed(&name(7)), "{}", name(7));
    }

    #[test]
    fn a_key_has_the_shape_of_a_uuid() {
        let key = uuid(&mut Seeded::new(1));
        let lengths: Vec<usize> = key.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(key.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&key.as_bytes()[19]), "{key}");
    }

    #[test]
    fn malformed_ids_are_told_from_unknown_ones() {
        for malformed in ["", "short", "has-a-hyphen-and-is-long-enough-to-be-one", &"a".repeat(65)] {
            assert!(!is_well_formed(malformed), "{malformed}");
        }
    }
}
