//! How many guesses a password withstands, and whether it is a common one.
//!
//! The estimate is zxcvbn's: it takes a text apart into words of its lists (30,000 common passwords, of which
//! 11,611 have eight characters or more, and 64,000 words and names), spellings like `p4ssw0rd`, keyboard
//! walks, sequences, repetitions and dates, and counts how soon a guesser who knows these tricks would come
//! to it.
//!
//! # Why
//! - Left to itself it is slow where a stranger wants it to be: each sign that may stand for a letter
//!   multiplies its work, and a hundred characters of such signs take 0.6 s of a processor. So it is given
//!   stretches of at most 24 characters, with few such signs in them. Then the worst password costs about
//!   5 ms, and a usual one some 0.1 ms, which is little enough for a thread of the runtime. The first one
//!   of a process builds the lists, which takes another 20 ms.
//! - A text is at least as hard to guess as its hardest stretch. So what is said of a long text is never too
//!   much, and a long one is called common only if each stretch of it is.
//! - The estimator's own copies of a password are not wiped when it is done, unlike all of ours.

use zeroize::Zeroizing;
use zxcvbn::matching::patterns::MatchPattern;

use super::password::Password;

/// How well a password withstands guessing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strength {
    /// 0: within 1,000 guesses. 1: within 10^6. 2: within 10^8. 3: within 10^10. 4: beyond.
    pub score: u8,
    /// The logarithm to base 10 of the guesses that are at least needed; 0 to about 19.3.
    pub guesses_log10: f64,
}

/// Estimates a password's strength.
///
/// `about` holds the names of its user, which a guesser tries first: user name, e-mail address (of which the
/// part before the `@` counts), first and last name. Names shorter than [`SHORTEST_NAME`] characters do not
/// count, or nobody called Al could have a walrus in a password.
#[must_use]
pub fn strength(password: &Password, about: &[&str]) -> Strength {
    let estimate = Estimate::of(password.expose(), &names(about));
    Strength { score: estimate.score, guesses_log10: estimate.guesses_log10 }
}

/// Builds the lists, so that the first password of a process does not wait for them.
pub fn warm_up() {
    Estimate::of("password", &[]);
}

/// The fewest characters of a name that counts.
pub const SHORTEST_NAME: usize = 3;

/// The name of this product: a service's own name is among the first things guessed (OWASP ASVS 5.0, 6.2.11).
const PRODUCT: &str = "conclave";

/// The names that count, in lower case, with this product's.
#[must_use]
pub(super) fn names(about: &[&str]) -> Vec<String> {
    let local_part = |name: &str| name.split_once('@').map_or(name, |(local, _)| local).to_lowercase();
    let own = about.iter().map(|name| local_part(name));
    let is_long = |name: &String| name.chars().count() >= SHORTEST_NAME;
    own.filter(is_long).chain([PRODUCT.to_owned()]).collect()
}

/// Whether somebody who guesses common passwords would come to this one at once.
///
/// That is so if it is among the first [`COMMON_GUESSES`] guesses, in any case of its letters; or if the rest
/// is when up to [`DRESSING_CHARS`] ASCII signs and spaces, or these and digits, are taken from its ends. So
/// `Sunshine`, `sunsh1ne`, `enihsnus` and `Sunshine2024!` are common. So is whatever needs as few guesses
/// without being a word: `aaaaaaaa`, `abcdefgh`, `qwerty12345`, `12041987`. What is only short is not: that
/// is for a rule of length to refuse.
#[must_use]
pub(super) fn is_common(password: &Password, names: &[String]) -> bool {
    let folded = Zeroizing::new(password.expose().to_lowercase());
    is_among_the_first(&folded, names) || undressed(&folded).any(|rest| is_among_the_first(rest, names))
}

/// A word is found with its place on its list of at most 30,000, and one guess is added.
const COMMON_GUESSES: u64 = 30_001;

/// A year and a sign. A longer tail would take a guesser longer than a common word does.
const DRESSING_CHARS: usize = 5;

/// No word of the lists is longer than 23 characters.
const STRETCH_CHARS: usize = 24;

/// The most different [`LETTER_SIGNS`] in a stretch that are tried as letters: 36 readings. All twenty have
/// 800.
const MAX_LETTER_SIGNS: usize = 6;

/// What the estimator may read as a letter.
const LETTER_SIGNS: &str = "0123456789@([{<!|$+%";

fn is_among_the_first(text: &str, names: &[String]) -> bool {
    let estimate = Estimate::of(text, names);
    estimate.guesses <= COMMON_GUESSES && estimate.is_known
}

/// What is left without the signs around it, and without signs and digits; unless what goes is too much, or
/// all, or nothing. A long text is looked at as it is.
fn undressed(text: &str) -> impl Iterator<Item = &str> {
    let is_sign = |c: char| c.is_ascii_punctuation() || c == ' ';
    let bare = text.trim_matches(is_sign);
    let barer = text.trim_matches(|c: char| is_sign(c) || c.is_ascii_digit());
    let is_short = text.chars().count() <= STRETCH_CHARS;
    let lost = |from: &str, rest: &str| from.len() - rest.len();
    let is_new = [lost(text, bare) > 0, lost(bare, barer) > 0];
    [bare, barer].into_iter().zip(is_new).filter_map(move |(rest, is_new)| {
        let is_dressing = lost(text, rest) <= DRESSING_CHARS;
        (is_short && is_new && is_dressing && !rest.is_empty()).then_some(rest)
    })
}

/// What the estimator says.
struct Estimate {
    score: u8,
    guesses: u64,
    guesses_log10: f64,
    /// All of it was recognized; no part is a guess at random characters.
    is_known: bool,
}

impl Estimate {
    /// Of the hardest stretch of a text.
    fn of(text: &str, names: &[String]) -> Self {
        let of = |stretch: Zeroizing<String>| Self::of_stretch(&stretch, names);
        let hardest = stretches(text).into_iter().map(of).max_by_key(|estimate| estimate.guesses);
        hardest.unwrap_or(Self { score: 0, guesses: 0, guesses_log10: 0.0, is_known: true })
    }

    fn of_stretch(text: &str, names: &[String]) -> Self {
        let entropy = zxcvbn::zxcvbn(text, &names.iter().map(String::as_str).collect::<Vec<_>>());
        Self {
            score: entropy.score().into(),
            guesses: entropy.guesses(),
            guesses_log10: entropy.guesses_log10(),
            is_known: !entropy.sequence().iter().any(|part| part.pattern == MatchPattern::BruteForce),
        }
    }
}

/// The text in pieces of about the same length, each bearable for the estimator.
fn stretches(text: &str) -> Vec<Zeroizing<String>> {
    let chars = Zeroizing::new(text.chars().collect::<Vec<_>>());
    let chars = unrepeated(&chars);
    let pieces = chars.len().div_ceil(STRETCH_CHARS).max(1);
    let length = chars.len().div_ceil(pieces).max(1);
    chars.chunks(length).map(|piece| bearable(piece, pieces == 1)).collect()
}

/// A long text that is one unit again and again, with fewer repetitions: cut elsewhere than between two of
/// them, its pieces would look like more than the unit is.
fn unrepeated(chars: &[char]) -> &[char] {
    if chars.len() <= STRETCH_CHARS {
        return chars;
    }
    let repeats = |unit: &usize| chars.iter().zip(chars.iter().skip(*unit)).all(|(one, next)| one == next);
    let Some(unit) = (1..chars.len()).find(repeats) else { return chars };
    // A unit of more than half of the text is not there twice.
    chars.get(..unit * (STRETCH_CHARS / unit).max(2)).unwrap_or(chars)
}

/// A piece in which few signs are read as letters: where there are many, only digits, which dates and
/// sequences are made of. The other signs are given in their full-width form, which is no letter to the
/// estimator, and as different from each other as they were.
fn bearable(piece: &[char], may_have_signs: bool) -> Zeroizing<String> {
    let kinds = LETTER_SIGNS.chars().filter(|sign| piece.contains(sign)).count();
    if may_have_signs && kinds <= MAX_LETTER_SIGNS {
        return Zeroizing::new(piece.iter().collect());
    }
    let is_sign = |c: char| LETTER_SIGNS.contains(c) && !c.is_ascii_digit();
    let wide = |c: char| char::from_u32(u32::from(c) + FULL_WIDTH).filter(|_| is_sign(c)).unwrap_or(c);
    Zeroizing::new(piece.iter().copied().map(wide).collect())
}

/// From a sign of ASCII to its full-width form (Unicode block "Halfwidth and Fullwidth Forms").
const FULL_WIDTH: u32 = 0xFEE0;

#[cfg(test)]
#[path = "guesses_tests.rs"]
mod tests;
