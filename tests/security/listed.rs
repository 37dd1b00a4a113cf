//! The two lists, `checklist.md` and `lessons.md`: what they name is there, and nothing that must be proven is
//! left without a proof.
//!
//! A test is named by the end of its file's path and its own name: `it/races::one_root_user_gets_the_address`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every row of the checklist and its severity, as agreed before the first line of the program: the list may not
/// shrink, nor grow milder, by an edit of the list.
const ROWS: [(&str, &str); 8] = [
    ("P", "HHHMHHHHHCHHHCCHCC"),
    ("T", "CCCCHCHMCCHHMHCH"),
    ("O", "CHCHHCHMHHHHCHMHMMHM"),
    ("Z", "CCCCHCHHHH"),
    ("K", "CCCHHHHMC"),
    ("H", "HHHHHMMMMMH"),
    ("L", "HMHM"),
    ("C", "MMMHM"),
];

/// A lesson has to be tested so often, at least.
const LESSONS: usize = 40;

/// One line of a list.
struct Line {
    id: String,
    severity: String,
    applies: Applies,
    note: String,
    tests: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Applies {
    Yes,
    Partly,
    No,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the tables in a list: id, severity, applies, note, tests.
fn lines(text: &str) -> Vec<Line> {
    let rows = text.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let rows = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    let mut lines = Vec::new();
    for cells in rows.filter(|cells| cells[0] != "id" && !cells[0].starts_with('-')) {
        let [id, severity, applies, note, tests] = cells[..] else { panic!("not five cells: {cells:?}") };
        let applies = match applies {
            "yes" => Applies::Yes,
            "partly" => Applies::Partly,
            "no" => Applies::No,
            other => panic!("{id}: {other} is none of yes, partly, no"),
        };
        let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let [id, severity, note] = [id, severity, note].map(str::to_owned);
        lines.push(Line { id, severity, applies, note, tests });
    }
    lines
}

/// Each test of the workspace, with the path of its file without what every path has.
fn tests_there_are() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut folders: Vec<PathBuf> =
        ["src", "tests", "cluster/src", "cluster/tests"].iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = path.strip_prefix(root()).unwrap().with_extension("");
                let module = module.to_string_lossy().trim_end_matches("/mod").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                found.extend(tests_in(&text).into_iter().map(|test| (module.clone(), test)));
            }
        }
    }
    found
}

/// The names of the functions that are run as tests, and not passed over.
fn tests_in(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut is_test, mut is_ignored) = (false, false);
    for line in text.lines().map(str::trim) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        is_ignored |= line.starts_with("#[ignore");
        if line.starts_with("fn ") || line.starts_with("async fn ") {
            let name =
                line.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).map(|(name, _)| name);
            names.extend(name.filter(|_| is_test && !is_ignored).map(str::to_owned));
            (is_test, is_ignored) = (false, false);
        }
    }
    names
}

/// What is wrong with the tests that the lines name.
fn missing(lines: &[Line], there: &BTreeSet<(String, String)>) -> Vec<String> {
    let is_there = |named: &str| {
        named.rsplit_once("::").is_some_and(|(file, name)| {
            let ends = |module: &str| module == file || module.ends_with(&format!("/{file}"));
            there.iter().any(|(module, test)| test == name && ends(module))
        })
    };
    let named = lines.iter().flat_map(|line| line.tests.iter().map(move |test| (line, test)));
    named
        .filter(|(_, test)| !is_there(test))
        .map(|(line, test)| format!("{}: there is no test {test}", line.id))
        .collect()
}

/// What is wrong with the lines themselves.
fn unproven(lines: &[Line]) -> Vec<String> {
    let mut wrong = Vec::new();
    for line in lines {
        if line.applies != Applies::No
            && line.tests.is_empty()
            && ["C", "H"].contains(&line.severity.as_str())
        {
            wrong.push(format!("{}: it applies and no test proves it", line.id));
        }
        if line.applies != Applies::Yes && line.note.len() < 10 {
            wrong.push(format!("{}: it does not say why not", line.id));
        }
    }
    wrong
}

fn read(name: &str) -> Vec<Line> {
    lines(&fs::read_to_string(root().join("tests/security").join(name)).unwrap())
}

#[test]
fn x1_every_row_of_the_checklist_is_listed_and_proven() {
    let lines = read("checklist.md");
    let mut expected = Vec::new();
    for (letter, severities) in ROWS {
        let rows = severities.chars().enumerate();
        expected
            .extend(rows.map(|(index, severity)| (format!("{letter}{}", index + 1), severity.to_string())));
    }
    assert_eq!(expected.len(), 93);
    let listed: Vec<(String, String)> =
        lines.iter().map(|line| (line.id.clone(), line.severity.clone())).collect();
    assert_eq!(listed, expected);
    let wrong = [missing(&lines, &tests_there_are()), unproven(&lines)].concat();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    // Of the rest nine of ten.
    let applying = lines.iter().filter(|line| line.severity == "M" && line.applies != Applies::No);
    let (proven, rest): (Vec<&Line>, Vec<&Line>) = applying.partition(|line| !line.tests.is_empty());
    let open: Vec<&str> = rest.iter().map(|line| line.id.as_str()).collect();
    assert!(proven.len() >= 9 * open.len(), "without a test: {open:?}");
}

#[test]
fn x15_every_lesson_of_others_is_tested_or_says_why_not() {
    let lines = read("lessons.md");
    let wrong = [missing(&lines, &tests_there_are()), unproven(&lines)].concat();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let tested = lines.iter().filter(|line| !line.tests.is_empty()).count();
    assert!(tested >= LESSONS, "{tested} lessons are tested");
    let names: BTreeSet<&str> = lines.iter().map(|line| line.id.as_str()).collect();
    assert_eq!(names.len(), lines.len(), "a lesson is there twice");
}

/// What is in this folder is named after its row, and its row names it.
#[test]
fn x1_every_attack_is_named_after_its_row() {
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in read("checklist.md").into_iter().chain(read("lessons.md")) {
        rows.entry(line.id.to_lowercase()).or_default().extend(line.tests);
    }
    let mut strays = Vec::new();
    for (module, test) in tests_there_are() {
        let Some(file) = module.strip_prefix("tests/") else { continue };
        if !file.starts_with("security/") || file == "security/listed" {
            continue;
        }
        let row = test.split('_').next().unwrap_or_default();
        if !rows.get(row).is_some_and(|tests| tests.contains(&format!("{file}::{test}"))) {
            strays.push(format!("row {row} does not name {file}::{test}"));
        }
    }
    assert!(strays.is_empty(), "\n{}", strays.join("\n"));
}

/// These checks see what they are there for.
#[test]
fn x1_a_list_that_is_wrong_is_seen() {
    let text = "fn helps() {}\n#[test]\nfn here() {}\n#[tokio::test]\nasync fn there() {}\n\
        #[test]\n#[ignore]\nfn asleep() {}\n";
    let there: BTreeSet<(String, String)> =
        tests_in(text).into_iter().map(|test| ("src/a/b".to_owned(), test)).collect();
    assert_eq!(there.len(), 2, "{there:?}");
    let table = "| id | s | a | n | t |\n|---|---|---|---|---|\n\
        | P1 | C | yes | | `b::here`, `a/b::there` |\n| P2 | H | partly | | |\n| P3 | M | no | | |\n\
        | P4 | H | yes | | `b::asleep` `c::here` `here` `b::helps` |\n\
        | P5 | C | no | nothing of that kind | |\n| P6 | M | yes | | |\n";
    let lines = lines(table);
    assert_eq!(lines.len(), 6);
    let wrong = missing(&lines, &there);
    assert_eq!(wrong.len(), 4, "{wrong:?}");
    let wrong = unproven(&lines);
    assert_eq!(wrong.len(), 3, "{wrong:?}");
}
