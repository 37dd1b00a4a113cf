use proptest::prelude::*;

use super::*;

fn password(text: &str) -> Password {
    Password::parse(text.to_owned()).unwrap()
}

fn is_common(text: &str) -> bool {
    super::is_common(&password(text), &[])
}

/// Fifty that somebody has, each of eight characters or more, so that no rule of length refuses them.
const FIFTY: [&str; 50] = [
    "password",
    "12345678",
    "123456789",
    "1234567890",
    "87654321",
    "11111111",
    "88888888",
    "12341234",
    "qwertyuiop",
    "qwerty123",
    "1q2w3e4r",
    "1qaz2wsx",
    "q1w2e3r4",
    "asdfghjkl",
    "zxcvbnm123",
    "abcd1234",
    "abc12345",
    "password1",
    "password123",
    "passw0rd",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "basketball",
    "superman",
    "batman123",
    "spiderman",
    "starwars",
    "trustno1",
    "whatever",
    "letmein1",
    "welcome1",
    "charlie1",
    "michelle",
    "jennifer",
    "jonathan",
    "victoria",
    "elizabeth",
    "computer",
    "internet",
    "samantha",
    "alexander",
    "liverpool",
    "chocolate",
    "butterfly",
    "dragon123",
    "mustang1",
    "corvette",
];

#[test]
fn each_of_fifty_common_ones_is_common_dressed_or_not() {
    for word in FIFTY {
        let capital = word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1));
        for text in [word.to_owned(), word.to_uppercase(), capital.collect(), format!("{word}!")] {
            assert!(is_common(&text), "{text}");
        }
    }
}

#[test]
fn tricks_are_known() {
    for text in [
        "P@ssw0rd",
        "p4$$w0rd!",
        "drowssap",
        "Sunshine2024!",
        "!!sunshine99",
        "12345678!",
        "*1qaz2wsx*",
        " sunshine ",
        "sunsh1ne",
        "WoNdErWoMaN",
        "wonderwoman48271",
        "international",
        "passwordqwerty",
        "aaaaaaaa",
        "abababab",
        "abcdefgh",
        "zyxwvuts",
        "12041987",
        "🔑🔑🔑🔑🔑🔑🔑🔑",
    ] {
        assert!(is_common(text), "{text}");
    }
}

#[test]
fn a_long_text_is_common_if_each_stretch_of_it_is() {
    for text in [
        "a".repeat(25),
        "a".repeat(128),
        "password".repeat(16),
        "1234567890".repeat(12),
        "sunshine".repeat(5) + "sun",
    ] {
        assert!(is_common(&text), "{text}");
    }
    for text in [
        "a".repeat(60) + "correct horse battery staple",
        "kqzvwjxh".to_owned() + &"a".repeat(120),
        "kqzvwjxh".repeat(16),
    ] {
        assert!(!is_common(&text), "{text}");
    }
}

#[test]
fn what_is_not_guessed_is_not_called_common() {
    for text in [
        "correct horse battery staple",
        "correcthorsebatterystaple",
        "nine walruses in a teapot",
        "summer winter",
        "kX9#mQ2v",
        "7fq0zk3b",
        // Short, or short without its tail; but on no list.
        "kqzv",
        "kqzv8374",
        // A word with a tail that is not a trifle.
        "wonderwoman482717",
        "пароль-без-смысла",
        "e\u{301}te\u{301} a\u{300} Nimes",
        "🔑🎈🐙🌵🚲🥁🍋🧭",
    ] {
        assert!(!is_common(text), "{text}");
    }
}

#[test]
fn what_is_known_of_the_user_is_guessed_early() {
    let text = password("Wr1ggl3sw0rth77");
    assert!(!super::is_common(&text, &[]));
    assert!(super::is_common(&text, &names(&["W", "wrigglesworth@example.com"])));
    assert!(strength(&text, &["Wrigglesworth@example.com"]).score < strength(&text, &[]).score);
}

#[test]
fn strength_rises_with_what_is_hard_to_guess() {
    let table = [
        ("password", 0),
        ("Password1", 0),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0),
        ("sunshineharbor", 1),
        ("tgcimybad", 3),
        ("nine walruses in a teapot", 4),
        ("kX9#mQ2v$Lr4", 4),
    ];
    let mut last = -1.0;
    for (text, score) in table {
        let strength = strength(&password(text), &[]);
        assert_eq!(strength.score, score, "{text}");
        if score > 0 {
            assert!(strength.guesses_log10 > last, "{text}");
            last = strength.guesses_log10;
        }
    }
}

/// Without this, the estimator takes 0.6 s for such a text.
#[test]
fn signs_that_may_be_letters_are_given_sparingly() {
    let all = LETTER_SIGNS;
    let given = |text: &str| stretches(text).iter().map(|stretch| stretch.to_string()).collect::<Vec<_>>();
    assert_eq!(given("p@$$w0rd!"), ["p@$$w0rd!"]);
    assert_eq!(given(all), ["0123456789＠（［｛＜！｜＄＋％"]);
    assert_eq!(given(&("@b".repeat(13) + "!")), ["＠b＠b＠b＠b＠b＠b＠b", "＠b＠b＠b＠b＠b＠b！"]);
    for stretch in given(&all.repeat(6)).iter().chain(&given(all)) {
        assert!(stretch.chars().filter(|c| all.contains(*c)).all(|c| c.is_ascii_digit()), "{stretch}");
    }
}

#[test]
fn only_whole_repetitions_go() {
    let left = |text: &str| unrepeated(&text.chars().collect::<Vec<_>>()).iter().collect::<String>();
    for (text, expected) in [
        ("a".repeat(24), "a".repeat(24)),
        ("a".repeat(25), "a".repeat(24)),
        ("password".repeat(16), "password".repeat(3)),
        ("password".repeat(5) + "pass", "password".repeat(3)),
        ("ab".repeat(40), "ab".repeat(12)),
        ("sesam".repeat(25), "sesam".repeat(4)),
        ("abcdefghijklm".repeat(9), "abcdefghijklm".repeat(2)),
        ("walruses in a teapot and walruses".to_owned(), "walruses in a teapot and walruses".to_owned()),
        ("password".repeat(5) + "paß", "password".repeat(5) + "paß"),
        ("nine walruses in a teapot".repeat(2), "nine walruses in a teapot".repeat(2)),
        ("nine walruses in a teapot".repeat(3), "nine walruses in a teapot".repeat(2)),
    ] {
        assert_eq!(left(&text), expected);
    }
}

/// All kinds of text, with many of the signs that make the estimator work.
fn texts() -> impl Strategy<Value = String> {
    let sign = prop::sample::select(LETTER_SIGNS.chars().collect::<Vec<_>>());
    let odd = prop::sample::select("İΣςßŉǰ\u{0}\u{301}\u{200d}🔑a1".chars().collect::<Vec<_>>());
    prop::collection::vec(prop_oneof![any::<char>(), sign, odd], 1..=128)
        .prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #[test]
    fn stretches_are_short_with_few_letter_signs_and_lose_nothing(text in texts()) {
        let chars: Vec<_> = text.chars().collect();
        let mut length = 0;
        for stretch in stretches(&text) {
            let chars: Vec<_> = stretch.chars().collect();
            let signs = LETTER_SIGNS.chars().filter(|sign| chars.contains(sign)).collect::<Vec<_>>();
            prop_assert!((1..=STRETCH_CHARS).contains(&chars.len()));
            prop_assert!(signs.len() <= MAX_LETTER_SIGNS || signs.iter().all(char::is_ascii_digit));
            length += chars.len();
        }
        prop_assert_eq!(length, unrepeated(&chars).len());
    }

    #[test]
    fn any_text_has_a_strength(text in texts(), about in texts()) {
        if let Ok(password) = Password::parse(text) {
            let strength = strength(&password, &[&about]);
            prop_assert!(strength.score <= 4);
            prop_assert!((0.0..20.0).contains(&strength.guesses_log10));
            let _ = super::is_common(&password, &names(&[&about]));
        }
    }
}
