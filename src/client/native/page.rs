//! Lists in parts.

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::call::answer;
use super::super::path::Target;
use super::{Account, Answer, Call, Read};
use crate::client::Error;

/// A part of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct Page<T> {
    /// The items, in the order of the list.
    pub items: Vec<T>,
    /// The cursor of the next part; none on the last.
    pub next: Option<String>,
}

/// A list that comes in parts of at most 200.
#[derive(Clone, Debug)]
#[must_use = "a list is asked for when a page of it is"]
pub struct Pages<T> {
    account: Account,
    target: Target,
    limit: Option<u16>,
    item: std::marker::PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + Send + 'static> Pages<T> {
    pub(super) fn new(account: &Account, target: Target) -> Self {
        Self { account: account.clone(), target, limit: None, item: std::marker::PhantomData }
    }

    /// How many items are in a part: 1 to 200, 50 unless it is said.
    pub fn limit(mut self, limit: u16) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The first part.
    pub fn first(&self) -> Call<Answer<Page<T>>, Read> {
        self.part(None)
    }

    /// The part behind the one that gave this cursor. For a list that is the same in all parts, read each at
    /// [`super::super::Consistency::AsOf`] the revision of the first.
    pub fn after(&self, cursor: &str) -> Call<Answer<Page<T>>, Read> {
        self.part(Some(cursor))
    }

    /// All of it, each part as it is when it is read.
    ///
    /// # Errors
    /// As the first part that fails.
    pub async fn all(&self) -> Result<Vec<T>, Error> {
        let mut page = self.first().await?.value;
        let mut items = page.items;
        while let Some(cursor) = page.next {
            page = self.after(&cursor).await?.value;
            items.append(&mut page.items);
        }
        Ok(items)
    }

    fn part(&self, cursor: Option<&str>) -> Call<Answer<Page<T>>, Read> {
        let target = self.target.clone().query("limit", self.limit).query("cursor", cursor);
        Call::reading(&self.account.client, &self.account.proof, Method::GET, target, answer)
    }
}
