//! Several actions that happen together or not at all.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Account, Answer, Call, NewRole, NewUser, Principal, RoleChanges, UserChanges, Write};

/// 1 to 100 actions, each judged after those before it, if the things they rest on are as they were seen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Transaction {
    /// What must still be so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preconditions: Vec<Precondition>,
    /// What to do.
    pub actions: Vec<Step>,
}

/// A thing must still be at this revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Precondition {
    /// `account`, `users/{user}`, `passwords/{user}`, `service-accounts/{service}` or `roles/{role}`.
    pub resource: String,
    /// Its [`Answer::tag`]; 0 if it must not exist.
    pub revision: u64,
}

/// One action.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Step {
    /// Makes a user.
    CreateUser(NewUser),
    /// Changes a user.
    UpdateUser {
        /// Which one.
        user: String,
        /// How.
        changes: UserChanges,
    },
    /// Refuses a user from now on.
    DisableUser {
        /// Which one.
        user: String,
    },
    /// Lets a user in again.
    EnableUser {
        /// Which one.
        user: String,
    },
    /// Deletes a user.
    DeleteUser {
        /// Which one.
        user: String,
    },
    /// Makes a role.
    CreateRole(NewRole),
    /// Changes a role.
    UpdateRole {
        /// Which one.
        role: String,
        /// How.
        changes: RoleChanges,
    },
    /// Deletes a role.
    DeleteRole {
        /// Which one.
        role: String,
    },
    /// Gives a principal a role.
    AssignRole {
        /// Whom.
        principal: Principal,
        /// Which one.
        role: String,
    },
    /// Takes a role from a principal.
    UnassignRole {
        /// From whom.
        principal: Principal,
        /// Which one.
        role: String,
    },
    /// Ends all sessions of a principal.
    EndSessions {
        /// Whose.
        principal: Principal,
    },
}

/// A transaction that happened.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Committed {
    /// The revision that it made.
    pub revision: u64,
    /// What each action gave, in their order.
    pub results: Vec<StepResult>,
}

/// What an action gave.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StepResult {
    /// The id of a user, for an action that makes one.
    pub id: Option<Uuid>,
}

impl Transaction {
    /// And this action.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.actions.push(step);
        self
    }

    /// If this thing is still at this revision.
    #[must_use]
    pub fn when(mut self, resource: impl Into<String>, revision: u64) -> Self {
        self.preconditions.push(Precondition { resource: resource.into(), revision });
        self
    }
}

impl Account {
    /// Does all of it, or nothing.
    pub fn commit(&self, transaction: &Transaction) -> Call<Answer<Committed>, Write> {
        self.write(Method::POST, self.below("transactions")).json(transaction)
    }
}
