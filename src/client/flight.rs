//! Work that many wait for and that is done once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::Error;

/// At most one piece of work at a time, of whose result everybody who waits gets a copy.
///
/// It runs in a task of its own, to its end, also when all who waited have gone away.
#[derive(Clone)]
pub(super) struct Flight<T: Clone>(Arc<Mutex<Option<Joined<T>>>>);

/// The result, when it is there.
pub(super) type Joined<T> = Shared<BoxFuture<'static, Result<T, Error>>>;

impl<T: Clone> Default for Flight<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// What is under way.
    pub(super) fn under_way(&self) -> Option<Joined<T>> {
        self.lock().clone()
    }

    /// What is under way, or else this, which starts now.
    pub(super) fn join(&self, work: impl Future<Output = Result<T, Error>> + Send + 'static) -> Joined<T> {
        let mut slot = self.lock();
        if let Some(joined) = &*slot {
            return joined.clone();
        }
        let landing = Landing(self.clone());
        let task = tokio::spawn(async move {
            let result = work.await;
            drop(landing);
            result
        });
        let stopped = |_| Error::Transport {
            reason: "the runtime stopped meanwhile".to_owned(),
            outcome_unknown: true,
        };
        let joined = task.map(move |done| done.map_err(stopped)?).boxed().shared();
        *slot = Some(joined.clone());
        joined
    }

    fn lock(&self) -> MutexGuard<'_, Option<Joined<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room for the next, also when the work ends because its runtime does.
struct Landing<T: Clone + Send + Sync + 'static>(Flight<T>);

impl<T: Clone + Send + Sync + 'static> Drop for Landing<T> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}
