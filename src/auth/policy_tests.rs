use super::*;
use crate::domain::policy::CharacterClasses;

const MODERN: PasswordPolicy = PasswordPolicy::MODERN;
const ENGINE: PasswordPolicy = PasswordPolicy::ENGINE;
const KEYSTONE: PasswordPolicy = PasswordPolicy::KEYSTONE;

/// The codes of what is broken, one space between.
fn judged(policy: &PasswordPolicy, text: &str, about: &[&str]) -> String {
    let password = Password::parse(text.to_owned()).unwrap();
    breaches(policy, &password, about).iter().map(|breach| breach.code()).collect::<Vec<_>>().join(" ")
}

#[test]
fn length_is_counted_in_code_points() {
    let policy = PasswordPolicy { min_chars: 8, max_chars: 64, ..ENGINE };
    // One on the screen is one, two or seven code points.
    for (unit, chars) in [("x", 1), ("é", 1), ("e\u{301}", 2), ("🔑", 1), ("👩‍👩‍👧‍👦", 7), (" ", 1)]
    {
        for count in 1..=(128 / chars) {
            let expected = match count * chars {
                ..8 => "too_short",
                8..=64 => "",
                _ => "too_long",
            };
            let text = unit.repeat(count);
            if text.len() <= Password::MAX_BYTES {
                assert_eq!(judged(&policy, &text, &[]), expected, "{count} times {unit}");
            }
        }
    }
}

#[test]
fn modern_table() {
    let about = ["Walrus", "w.rus@example.com", "Al", "Wrigglesworth"];
    for (text, expected) in [
        // No rule of composition, every character counts.
        ("nine teapots in a garden", ""),
        ("correct horse battery staple", ""),
        ("девять чайников в саду", ""),
        ("🔑🎈🐙🌵🚲🥁🍋🧭", ""),
        ("kX9#mQ2v", ""),
        ("kX9#mQ2", "too_short"),
        ("e\u{301}e\u{302}kx", "too_short"),
        ("e\u{301}e\u{302}kxqz", ""),
        ("password", "common"),
        ("Password2024!", "common"),
        ("aaaaaaaa", "common"),
        ("pass", "too_short common"),
        // Names, in any case and anywhere; those of two letters do not count.
        ("nine WALRUSES in a garden", "contains_name"),
        ("garden of w.rus, teapots", "contains_name"),
        ("garden of example.com teapots", ""),
        ("always a teapot in a garden", ""),
        ("my Conclave teapots", "contains_name"),
        ("walrus1", "too_short contains_name common"),
        ("conclave", "contains_name common"),
        // A name is a word that is guessed, in any dress.
        ("Wr1ggl3sw0rth77", "common"),
    ] {
        assert_eq!(judged(&MODERN, text, &about), expected, "{text}");
    }
    for length in [127, 128] {
        let text: String = "nine teapots in a garden, ".chars().cycle().take(length).collect();
        assert_eq!(judged(&MODERN, &text, &about), "", "{length}");
    }
}

#[test]
fn engine_refuses_nothing() {
    for text in ["x", " ", "password", "SecurePass123", "DevPass456", "walrus", "conclave", &"x".repeat(128)]
    {
        assert_eq!(judged(&ENGINE, text, &["walrus"]), "", "{text}");
    }
}

#[test]
fn keystone_table() {
    for (text, expected) in [
        // The examples of its clients.
        ("SecurePassword123!", ""),
        ("Aaaa1234!", ""),
        ("Sunshine2024!", ""),
        ("Xy1!aaa", "too_short"),
        ("Xy1!aaaa", ""),
        ("xy1!aaaa", "no_upper_case"),
        ("XY1!AAAA", "no_lower_case"),
        ("Xyz!aaaa", "no_digit"),
        ("Xy1aaaaa", "no_special_character"),
        ("Xy1_aaaa", "no_special_character"),
        ("Xy1-aaaa'", "no_special_character"),
        ("x", "too_short no_upper_case no_digit no_special_character"),
        // The name of the user, in any case.
        ("Xy1!john.doe", "contains_name"),
        ("Xy1!JOHN.DOE", "contains_name"),
        ("Xy1!john_doe", ""),
        // Beginnings, in any case and only there.
        ("Password1!", "forbidden_beginning"),
        ("PASSWORD1!x", "forbidden_beginning"),
        ("My-Password1!", ""),
        ("123456Ab!", "forbidden_beginning"),
        ("12345Ab!", ""),
        ("Qwerty1!", "forbidden_beginning"),
        ("Admin123!", "forbidden_beginning"),
        ("Letmein1!", "forbidden_beginning"),
        ("Welcome1!", "forbidden_beginning"),
        ("Monkey12!", "forbidden_beginning"),
        ("Dragon12!", "forbidden_beginning"),
        // Rows, whole, in any case, in both directions, anywhere.
        ("Xy1!qwertyuiop", "keyboard_row"),
        ("Xy1!poiuytrewq", "keyboard_row"),
        ("Xy1!asdfghjklx", "keyboard_row"),
        ("Xy1!LKJHGFDSAx", "keyboard_row"),
        ("zxCVbnm1!", "keyboard_row"),
        ("Mnbvcxz1!", "keyboard_row"),
        ("Xy!1234567890", "keyboard_row"),
        ("Xy!0987654321", "keyboard_row"),
        ("Xy!123456789", ""),
        ("Xy1!qwertyuio", ""),
        ("Liberty-Strewn1", "no_special_character"),
        ("QWERTYUIOP", "no_lower_case no_digit no_special_character forbidden_beginning keyboard_row"),
    ] {
        assert_eq!(judged(&KEYSTONE, text, &["John.Doe", "john.doe@example.com"]), expected, "{text}");
    }
}

#[test]
fn every_special_character_counts_and_no_other_sign() {
    let policy = PasswordPolicy {
        required: CharacterClasses { special: true, ..CharacterClasses::default() },
        ..ENGINE
    };
    let mut special: Vec<_> =
        (' '..='~').filter(|c| judged(&policy, &c.to_string(), &[]).is_empty()).collect();
    special.sort_unstable();
    let mut wanted: Vec<_> = "!@#$%^&*(),.?\":{}|<>".chars().collect();
    wanted.sort_unstable();
    assert_eq!(special, wanted);
}

#[test]
fn letters_and_digits_of_every_script_count() {
    for (text, expected) in [
        ("ЖжÜ", "no_digit"),
        ("жü٣", "no_upper_case"),
        ("ЖÜ٣", "no_lower_case"),
        ("Жж٣", ""),
        ("中文字", "no_upper_case no_lower_case no_digit"),
    ] {
        let required = CharacterClasses { upper: true, lower: true, digit: true, special: false };
        assert_eq!(judged(&PasswordPolicy { required, ..ENGINE }, text, &[]), expected, "{text}");
    }
}

#[test]
fn names_count_only_where_the_policy_says_so() {
    let policy = PasswordPolicy { no_names: false, ..MODERN };
    assert_eq!(judged(&policy, "walrus-conclave-teapot", &["walrus"]), "");
    assert_eq!(judged(&policy, "Wr1ggl3sw0rth77", &["wrigglesworth"]), "", "not even as a guess");
}

#[test]
fn a_breach_says_what_to_do_and_quotes_nothing() {
    let policy = PasswordPolicy { no_common: true, ..KEYSTONE };
    let texts = ["zebrafish", "Zebrafish1!zxcvbnm", "password", "Z"];
    for text in texts {
        let found = breaches(&policy, &Password::parse(text.to_owned()).unwrap(), &["zebra"]);
        assert!(!found.is_empty(), "{text}");
        for breach in found {
            let sentence = breach.to_string();
            assert!(!sentence.to_lowercase().contains("zebra"), "{sentence}");
            assert!(!format!("{breach:?}").to_lowercase().contains("zebra"));
        }
    }
}

#[test]
fn codes_stay_as_clients_know_them() {
    let all = [
        Breach::TooShort(8),
        Breach::TooLong(128),
        Breach::NoUpper,
        Breach::NoLower,
        Breach::NoDigit,
        Breach::NoSpecial,
        Breach::ContainsName,
        Breach::Common,
        Breach::ForbiddenBeginning,
        Breach::KeyboardRow,
        Breach::Reused(1),
        Breach::Reused(5),
    ];
    let told: Vec<_> = all.iter().map(|breach| format!("{}: {breach}", breach.code())).collect();
    assert_eq!(
        told,
        [
            "too_short: A password has at least 8 characters.",
            "too_long: A password has at most 128 characters.",
            "no_upper_case: A password has at least one upper-case letter.",
            "no_lower_case: A password has at least one lower-case letter.",
            "no_digit: A password has at least one digit.",
            "no_special_character: A password has at least one of: !@#$%^&*(),.?\":{}|<>",
            "contains_name: A password contains no name of its user and no name of this service.",
            "common: This password is among those that are guessed first.",
            "forbidden_beginning: A password does not start with: password, 123456, qwerty, admin, letmein, \
             welcome, monkey, dragon",
            "keyboard_row: A password contains no row of the keyboard, in either direction.",
            "reused: A new password differs from the present one.",
            "reused: A new password differs from the last 5.",
        ]
    );
}
