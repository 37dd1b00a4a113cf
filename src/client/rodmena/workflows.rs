//! Workflows of several steps, each a permission: an addition of this cluster.

use serde::{Deserialize, Serialize};

use super::wire::data;
use super::{AuthClient, Call, Read, Target};

/// Who can do every step of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Runners {
    /// By name.
    pub members: Vec<Runner>,
    /// Whether there may be more than are listed.
    pub truncated: bool,
}

/// One who can.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Runner {
    /// Its name.
    pub user: String,
}

/// Whether a user can do every step.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Run {
    /// Whether it can.
    pub can_run: bool,
    /// The first step that it cannot do.
    pub stopped_by: Option<String>,
}

#[derive(Serialize)]
struct Steps<'s> {
    steps: &'s [&'s str],
}

impl AuthClient {
    /// Who can do every one of 1 to 50 steps, at most 1000 users.
    pub fn get_users_for_steps(&self, steps: &[&str]) -> Call<Runners, Read> {
        self.query(Target::new("/api/workflows/users"), data).json(&Steps { steps })
    }

    /// Whether a user can do every step, and which one stops it.
    pub fn check_user_steps(&self, user: &str, steps: &[&str]) -> Call<Run, Read> {
        self.query(Target::new("/api/workflows/user").name(user), data).json(&Steps { steps })
    }
}
