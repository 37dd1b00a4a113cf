//! `conclave audit export`: asks the node of this machine for a trail, page by page, and writes it down.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{ExportArgs, FORMAT, FirstLine};
use crate::api::record::{HeadView, RecordView};
use crate::api::reply::Page;
use crate::auth::key_file::KeySource;
use crate::cli::ask::{Answer, ask_with_token};
use crate::cli::{Failure, TOKEN_VARIABLE};
use crate::config::Config;
use crate::secret::Secret;

/// The most tries of one request, where the node asks for patience.
const TRIES: u32 = 60;

/// Where to ask, and as whom.
struct Source<'c> {
    config: &'c Config,
    token: Secret<String>,
    /// The path of the trail.
    path: String,
    /// What follows the path: `?` and the query, to which more is added.
    query: String,
}

/// Writes the trail that the arguments name.
pub(super) async fn export(args: &ExportArgs, config: &Config) -> Result<(), Failure> {
    let source = Source::new(args, config)?;
    let Some(path) = &args.out else {
        return source.write(&mut io::stdout().lock()).await;
    };
    let mut file = create(path)?;
    let written = match source.write(&mut file).await {
        Ok(()) => file.sync_all().map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    if written.is_err() {
        // Half a trail must not be taken for a whole one.
        let _ = fs::remove_file(path);
    }
    written
}

/// A file that was not there before: an exported trail is evidence. It holds addresses of people.
fn create(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| format!("cannot make {}: {error}", path.display()).into())
}

impl<'c> Source<'c> {
    fn new(args: &ExportArgs, config: &'c Config) -> Result<Self, Failure> {
        if let Some(account) = &args.account
            && (account.is_empty()
                || !account.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
        {
            return Err("--account: an account's number has 12 digits".into());
        }
        let given = match (&args.token_file, std::env::var_os(TOKEN_VARIABLE)) {
            (Some(file), _) => {
                let text = fs::read_to_string(file)
                    .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
                Some(Secret::new(text.trim().to_owned()))
            }
            (None, Some(text)) => {
                let text = text.into_string().map_err(|_| format!("{TOKEN_VARIABLE} is not UTF-8"))?;
                Some(Secret::new(text.trim().to_owned()))
            }
            (None, None) => None,
        };
        let trail = &args.trail;
        let (path, query, token) = match (given, &args.account) {
            (Some(token), Some(account)) => {
                (format!("/v1/accounts/{account}/audit"), format!("?trail={trail}"), token)
            }
            (Some(_), None) => return Err("a token is of an account: name it with --account".into()),
            (None, account) => {
                let account = account.as_ref().map_or_else(String::new, |id| format!("&account={id}"));
                let token = KeySource::of(config).read()?.operator_token();
                ("/v1/cluster/audit".to_owned(), format!("?trail={trail}{account}"), token)
            }
        };
        Ok(Self { config, token, path, query })
    }

    /// The trail up to the end that it has now.
    async fn write(&self, out: &mut impl Write) -> Result<(), Failure> {
        // Old records may be dropped between two requests, so both ends are asked for until they fit.
        let (head, mut page) = loop {
            let head: HeadView = self.get(&format!("{}/head{}", self.path, self.query)).await?;
            let page = self.page(None).await?;
            let first = page.items.first().map_or(0, |record| record.sequence);
            if first == head.first || head.first == 0 {
                break (head, page);
            }
        };
        let last = head.sequence;
        line(out, &FirstLine { format: FORMAT.to_owned(), head })?;
        loop {
            for record in page.items.iter().filter(|record| record.sequence <= last) {
                line(out, record)?;
            }
            match page.next {
                Some(next) if page.items.last().is_some_and(|record| record.sequence < last) => {
                    page = self.page(Some(&next)).await?;
                }
                Some(_) | None => break,
            }
        }
        Ok(out.flush()?)
    }

    async fn page(&self, cursor: Option<&str>) -> Result<Page<RecordView>, Failure> {
        let cursor = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        self.get(&format!("{}{}&raw=true&limit=200{cursor}", self.path, self.query)).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let node = self.config.http_listen;
        let answer = self.answer(path).await?;
        if answer.status != 200 {
            return Err(format!("the node at {node} answered {}: {}", answer.status, answer.body).into());
        }
        serde_json::from_str(&answer.body)
            .map_err(|error| format!("the node at {node} answered something else: {error}").into())
    }

    /// The answer, once the node has time for it.
    async fn answer(&self, path: &str) -> Result<Answer, Failure> {
        let mut tries = 0;
        loop {
            let answer = ask_with_token(self.config, "GET", path, &self.token, None).await?;
            tries += 1;
            if !matches!(answer.status, 429 | 503) || tries == TRIES {
                return Ok(answer);
            }
            let wait = answer.retry_after_s.unwrap_or(1).min(60);
            tokio::time::sleep(Duration::from_secs(wait)).await;
        }
    }
}

fn line(out: &mut impl Write, value: &impl serde::Serialize) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, value)?;
    Ok(out.write_all(b"\n")?)
}
