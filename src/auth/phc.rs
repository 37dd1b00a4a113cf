//! Argon2id parameters and the text form in which hashes are stored (PHC strings).

use std::fmt;

use argon2::password_hash::phc::{Output, ParamsString, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHash, Version};

/// The cost of one hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashParams {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// A cost that is no Argon2 cost, or out of all proportion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "hash parameters must be 1 to {max_passes} passes, 1 to {max_lanes} lanes, and 8 KiB for each lane to {max_memory} KiB",
    max_passes = HashParams::MAX_PASSES,
    max_lanes = HashParams::MAX_LANES,
    max_memory = HashParams::MAX_MEMORY_KIB
)]
pub struct BadHashParams;

impl HashParams {
    /// The most memory, 1 GiB. A stored hash that asks for more is refused: it could stop a node.
    pub const MAX_MEMORY_KIB: u32 = 1024 * 1024;
    /// The most passes over the memory.
    pub const MAX_PASSES: u32 = 16;
    /// The most lanes.
    pub const MAX_LANES: u32 = 16;

    /// Takes a cost: memory in KiB, passes over it, lanes (computed one after another here).
    ///
    /// # Errors
    /// When one is out of its limits.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, BadHashParams> {
        let fits = (1..=Self::MAX_PASSES).contains(&passes)
            && (1..=Self::MAX_LANES).contains(&lanes)
            && (8 * lanes..=Self::MAX_MEMORY_KIB).contains(&memory_kib);
        if fits { Ok(Self { memory_kib, passes, lanes }) } else { Err(BadHashParams) }
    }

    /// Memory of one hash, in KiB.
    #[must_use]
    pub fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Whether a hash at this cost is worth making again at the other.
    #[must_use]
    pub fn is_below(self, other: Self) -> bool {
        self.memory_kib < other.memory_kib || self.passes < other.passes || self.lanes < other.lanes
    }

    pub(super) fn argon2(self) -> Result<Argon2<'static>, Malformed> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(OUTPUT_BYTES))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }
}

impl Default for HashParams {
    /// 19 MiB, 2 passes, 1 lane: OWASP's first choice, about 16 ms on a core of 2026.
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

/// A stored hash, taken apart.
#[derive(Clone, Copy)]
pub(crate) struct StoredHash {
    pub(super) params: HashParams,
    pub(super) salt: [u8; SALT_BYTES],
    pub(super) output: [u8; OUTPUT_BYTES],
}

/// A stored hash that this program did not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored password hash is not one of ours")]
pub(crate) struct Malformed;

pub(super) const SALT_BYTES: usize = 16;
pub(super) const OUTPUT_BYTES: usize = 32;
const VERSION: u32 = 0x13;

impl StoredHash {
    /// Reads what [`StoredHash`] prints, and nothing wider: another algorithm, version, length of salt or
    /// output, unknown parameter or absurd cost is malformed.
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let phc = PasswordHash::new(text)?;
        if phc.algorithm != ARGON2ID_IDENT || phc.version != Some(VERSION) {
            return Err(Malformed);
        }
        let cost = |name: &str| phc.params.get_decimal(name).ok_or(Malformed);
        let params = HashParams::new(cost("m")?, cost("t")?, cost("p")?).map_err(|_| Malformed)?;
        if phc.params.iter().count() != 3 {
            return Err(Malformed);
        }
        let (Some(salt), Some(output)) = (phc.salt, phc.hash) else { return Err(Malformed) };
        let salt = salt.as_ref().try_into().map_err(|_| Malformed)?;
        let output = output.as_bytes().try_into().map_err(|_| Malformed)?;
        Ok(Self { params, salt, output })
    }

    /// The PHC string.
    pub(crate) fn to_phc(self) -> Result<String, Malformed> {
        let mut params = ParamsString::new();
        let HashParams { memory_kib, passes, lanes } = self.params;
        for (name, value) in [("m", memory_kib), ("t", passes), ("p", lanes)] {
            params.add_decimal(name, value)?;
        }
        let hash = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(VERSION),
            params,
            salt: Some(Salt::new(&self.salt)?),
            hash: Some(Output::new(&self.output)?),
        };
        Ok(hash.to_string())
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredHash").field("params", &self.params).finish_non_exhaustive()
    }
}

impl From<argon2::Error> for Malformed {
    fn from(_: argon2::Error) -> Self {
        Self
    }
}

impl From<argon2::password_hash::phc::Error> for Malformed {
    fn from(_: argon2::password_hash::phc::Error) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn prints_what_it_reads() {
        let stored = StoredHash::parse(GOOD).unwrap();
        assert_eq!(stored.params, HashParams::default());
        assert_eq!(stored.to_phc().unwrap(), GOOD);
    }

    #[test]
    fn a_cost_is_within_its_limits() {
        for (cost, fits) in [
            ((8, 1, 1), true),
            ((7, 1, 1), false),
            ((128, 1, 16), true),
            ((127, 1, 16), false),
            ((1_048_576, 16, 16), true),
            ((1_048_577, 16, 16), false),
            ((1_048_576, 17, 16), false),
            ((1_048_576, 16, 17), false),
            ((64, 0, 1), false),
            ((64, 1, 0), false),
        ] {
            let made = HashParams::new(cost.0, cost.1, cost.2);
            assert_eq!(made.is_ok_and(|params| params.memory_kib() == cost.0), fits, "{cost:?}");
        }
    }

    #[test]
    fn a_hash_that_is_cheaper_in_anything_is_worth_making_again() {
        let of = |memory, passes, lanes| HashParams::new(memory, passes, lanes).unwrap();
        let new = of(128, 2, 2);
        for old in [of(127, 2, 2), of(128, 1, 2), of(128, 2, 1), of(127, 3, 3), of(129, 1, 3), of(129, 3, 1)]
        {
            assert!(old.is_below(new), "{old:?}");
        }
        for old in [new, of(129, 2, 2), of(128, 3, 2), of(128, 2, 3)] {
            assert!(!old.is_below(new), "{old:?}");
        }
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        let table = [
            GOOD.replace("m=19456", "m=1048577"),
            GOOD.replace("m=19456", "m=4294967295"),
            GOOD.replace("m=19456", "m=7"),
            GOOD.replace("m=19456,", ""),
            GOOD.replace("t=2", "t=17"),
            GOOD.replace("t=2", "t=0"),
            GOOD.replace("p=1", "p=17"),
            GOOD.replace("p=1", "p=1,keyid=AAAA"),
            GOOD.replace("argon2id", "argon2d"),
            GOOD.replace("argon2id", "scrypt"),
            GOOD.replace("v=19", "v=16"),
            GOOD.replace("$v=19", ""),
            GOOD.replace("$AAAAAAAAAAAAAAAAAAAAAA$", "$AAAAAAAAAAA$"),
            GOOD.trim_end_matches('A').to_owned(),
            format!("{GOOD}AAAA"),
            format!("{GOOD}$x"),
            "plain".to_owned(),
            String::new(),
        ];
        for text in table {
            assert!(StoredHash::parse(&text).is_err(), "{text}");
        }
    }
}
