//! `conclave settings`: every setting, as a settings file in which all of them are commented out.

use std::fmt::Write as _;

use crate::config::{SETTINGS, unused_variables};

/// The text, which loads as settings, also with any of its lines made real.
pub(super) fn text() -> String {
    let mut text = String::from(
        "# Every setting of a node, with its default. A line without its leading # sets it, in a file that\n\
         # `conclave start --config` is given. A variable in the environment is stronger than the file; names\n\
         # in brackets are those of older systems, and weaker than our own.\n",
    );
    for setting in SETTINGS {
        let older: Vec<_> = setting.older_variables().collect();
        let older = if older.is_empty() { String::new() } else { format!(" [{}]", older.join(", ")) };
        // Writing into a string does not fail, here and below.
        let _ = write!(text, "\n{}\n# {}{older}\n", commented(setting.help), setting.variable());
        let _ = writeln!(text, "#{} = {:?}", setting.name, setting.default);
    }
    text.push_str("\n# Variables of older systems that are known and have no effect:\n");
    for (variable, instead) in unused_variables() {
        let _ = writeln!(text, "#\n# {variable}\n{}", commented(instead));
    }
    text
}

/// The sentence in lines of at most a hundred characters.
fn commented(sentence: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in sentence.split(' ') {
        if lines.last().is_some_and(|line| line.len() + word.len() >= 100) {
            lines.push(String::from("#"));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Flags};

    #[test]
    fn what_is_printed_loads_with_and_without_its_marks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conclave.toml");
        let made_real = text()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => setting.to_owned(),
                _ => line.to_owned(),
            })
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(
            made_real.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count(),
            SETTINGS.len()
        );
        for text in [text(), made_real] {
            std::fs::write(&path, text).unwrap();
            let config = Config::load(Flags::default(), Some(&path), Vec::new()).unwrap();
            assert_eq!(config.http_listen.port(), 8080);
        }
    }

    #[test]
    fn older_names_stand_beside_ours() {
        let text = text();
        assert!(
            text.contains(
                "# CONCLAVE_RATE_LIMIT_LOGIN [RATE_LIMIT_LOGIN]\n#rate_limit_login = \"5/minute\"\n"
            )
        );
        assert!(text.contains("# CONCLAVE_HTTP_LISTEN [HOST, PORT, SERVER_HOST, SERVER_PORT]\n"), "{text}");
        assert!(text.contains("\n# REDIS_URL\n"));
        assert!(text.lines().all(|line| line.len() <= 120));
    }
}
