//! The gathering of values from flags, environment and file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::older::Older;
use super::table::{PREFIX, SETTINGS};
use super::{ConfigError, Origin};

/// Given by the command line's own parser: the path of the file is no setting.
const CONFIG_VARIABLE: &str = "CONCLAVE_CONFIG";

/// Values from the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags(Vec<(&'static str, Vec<String>)>);

impl Flags {
    /// Sets one of [`SETTINGS`] if there is a value.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        self.0.extend(value.map(|value| (name, vec![value.into()])));
        self
    }

    /// Sets a list if it is not empty.
    #[must_use]
    pub fn with_list(mut self, name: &'static str, values: Vec<String>) -> Self {
        if !values.is_empty() {
            self.0.push((name, values));
        }
        self
    }
}

/// A value before its type is known. A list is also what is separated by commas in one text.
pub(super) enum Given {
    One(String),
    Many(Vec<String>),
}

pub(super) type Values = BTreeMap<&'static str, (Given, Origin)>;

/// The strongest value of each setting that has one, and what the operator should be told of the rest.
pub(super) fn gather(
    flags: Flags,
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Values, Vec<String>), ConfigError> {
    let mut values = Values::new();
    if let Some(path) = file {
        from_file(path, &mut values)?;
    }
    let (mut stronger, older) = from_environment(environment)?;
    for (name, given) in flags.0 {
        stronger.insert(name, (Given::Many(given), Origin::Flag));
    }
    // Our own name is stronger than another system's for the same thing.
    let notices = older.settle(&mut values, &stronger)?;
    values.extend(stronger);
    Ok((values, notices))
}

fn from_file(path: &Path, values: &mut Values) -> Result<(), ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    from_text(path, &text, values)
}

/// What the text of a configuration file says; `path` is where it stands.
pub(super) fn from_text(path: &Path, text: &str, values: &mut Values) -> Result<(), ConfigError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        // Not the error itself, whose text shows the line.
        ConfigError::Syntax { path: path.to_owned(), line, problem: error.message().to_owned() }
    })?;
    for (key, value) in table {
        let origin = Origin::File(path.to_owned());
        let name = known(&key).ok_or_else(|| unknown(&key, &key, origin.clone()))?;
        let given = from_toml(value).ok_or_else(|| ConfigError::Bad {
            name,
            origin: origin.clone(),
            problem: "must be a string, a number, true, false, or a list of strings".to_owned(),
        })?;
        values.insert(name, (given, origin));
    }
    Ok(())
}

fn from_toml(value: toml::Value) -> Option<Given> {
    match value {
        toml::Value::String(text) => Some(Given::One(text)),
        toml::Value::Integer(number) => Some(Given::One(number.to_string())),
        toml::Value::Boolean(truth) => Some(Given::One(truth.to_string())),
        toml::Value::Array(items) => items
            .into_iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map(Given::Many),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

fn from_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Values, Older), ConfigError> {
    let (mut own, mut older) = (Values::new(), Older::default());
    for (variable, value) in environment {
        let Some(variable) = variable.to_str() else { continue };
        let old = Older::known(variable);
        let Some(key) = old.or_else(|| variable.strip_prefix(PREFIX)) else { continue };
        if variable == CONFIG_VARIABLE || (old.is_none() && is_service_link(variable)) {
            continue;
        }
        let origin = Origin::Variable(variable.to_owned());
        let key = key.to_ascii_lowercase();
        let name = match old {
            Some(name) => name,
            None => known(&key).ok_or_else(|| unknown(variable, &key, origin.clone()))?,
        };
        let Ok(value) = value.into_string() else {
            return Err(ConfigError::Bad { name, origin, problem: "is not UTF-8".to_owned() });
        };
        if old.is_some() {
            older.set(name, value);
        } else {
            own.insert(name, (Given::One(value), origin));
        }
    }
    Ok((own, older))
}

/// Kubernetes sets such variables in every container beside a service named `conclave…`.
fn is_service_link(variable: &str) -> bool {
    let has_port = |after: &str| {
        let number = after.split('_').next().unwrap_or_default();
        after.is_empty() || number.parse::<u16>().is_ok()
    };
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.split_once("_PORT").is_some_and(|(_, after)| has_port(after.trim_start_matches('_')))
}

fn known(key: &str) -> Option<&'static str> {
    SETTINGS.iter().map(|setting| setting.name).find(|name| *name == key)
}

fn unknown(given: &str, key: &str, origin: Origin) -> ConfigError {
    let likeness = |name: &&'static str| strsim::damerau_levenshtein(name, key);
    let nearest = SETTINGS.iter().map(|setting| setting.name).min_by_key(likeness);
    // Half of it wrong is not a misspelling.
    let nearest = nearest.filter(|name| likeness(name) <= name.len() / 2);
    // A name may be a misplaced secret, so a long one is cut.
    ConfigError::Unknown { name: given.chars().take(64).collect(), origin, nearest }
}
