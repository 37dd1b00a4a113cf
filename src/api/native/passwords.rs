//! Passwords by themselves: how good one would be, and changing one without being signed in.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, PASSWORDS, Route, route};
use crate::api::reply;
use crate::app::passwords::{WantedPassword, names_of, password_policy};
use crate::app::{Caller, Failure};
use crate::auth::guesses::strength;
use crate::auth::password::Password;
use crate::auth::policy::{Breach, breaches};
use crate::domain::policy::{CharacterClasses, PasswordPolicy};
use crate::domain::settings::PasswordRule;
use crate::domain::{AccountId, Lifetime, Principal, user};
use crate::http::problem::Problem;
use crate::secret::Secret;
use conclave_cluster::state::View;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/v1/accounts/{account}/password", change, account),
        route!(POST "/v1/accounts/{account}/password-strength", judge, account),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let change = json!({
        "login": "dev@example.com",
        "current_password": "super_secure_password",
        "new_password": "KettleOnShelf9",
    });
    let question = json!({"password": "super_secure_password", "names": ["dev@example.com"]});
    vec![
        Operation::write(
            "POST /v1/accounts/{account}/password",
            "changePassword",
            "Changes a password by giving the present one, and ends all sessions of its user",
        )
        .about(
            "Takes no token: this is the way on where a password has grown too old to sign in with. \
         Limited, refused and written down like a sign-in.",
        )
        .open()
        .takes::<Change>(change)
        .refuses(&[401, 412]),
        Operation::read(
            "POST /v1/accounts/{account}/password-strength",
            "judgePassword",
            "Tells how many guesses a password withstands, and which rules it breaks",
        )
        .about("Nothing of it is kept. Whether it was used before is told only when it is set.")
        .takes::<Question>(question)
        .gives::<Judgement>(),
    ]
}

/// `login` is a name or an e-mail address.
#[derive(Deserialize, ToSchema)]
#[schema(as = PasswordChange)]
#[serde(deny_unknown_fields)]
struct Change {
    login: String,
    #[schema(value_type = String, format = Password)]
    current_password: Secret<String>,
    #[schema(value_type = String, format = Password)]
    new_password: Secret<String>,
}

async fn change(api: &Api, call: &Call, account: &str) -> Answer {
    let body: Change = call.json()?;
    let current = Password::parse(body.current_password).map_err(Failure::from)?;
    let new = WantedPassword::parse(body.new_password, PASSWORDS)?;
    let request = call.request(account, "")?;
    let Ok(account) = AccountId::parse(account) else {
        return Err(refused(api.app.sign_in_nobody(current, &request).await));
    };
    let done = api.app.replace_password(account, body.login, current, new, &request).await?;
    Ok(reply::empty(done.revision))
}

/// What somebody who cannot exist is told.
fn refused<T>(never: Result<T, Failure>) -> Problem {
    never.err().map_or_else(Problem::internal, Problem::from)
}

/// `names` are those of the person it is for, which it must not be made of: user name, e-mail address, first
/// and last name; at most eight. Without any it is for whoever asks.
#[derive(Deserialize, ToSchema)]
#[schema(as = PasswordQuestion)]
#[serde(deny_unknown_fields)]
struct Question {
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
    #[serde(default)]
    names: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PasswordStrength)]
struct Judgement {
    /// 0: within a thousand guesses. 1: within a million. 2: within 10^8. 3: within 10^10. 4: beyond.
    #[schema(minimum = 0, maximum = 4)]
    score: u8,
    /// The logarithm to base 10 of the guesses that are at least needed.
    guesses_log10: f64,
    /// Empty if it may be set.
    breaches: Vec<BreachView>,
}

/// A rule that a password breaks.
#[derive(Serialize, ToSchema)]
#[schema(as = Breach)]
struct BreachView {
    /// Stable, for programs.
    code: &'static str,
    /// One sentence for people.
    message: String,
}

/// For people of the account: it is work that a stranger could ask for without end.
async fn judge(api: &Api, call: &Call, account: &str) -> Answer {
    let body: Question = call.json()?;
    let password = Password::parse(body.password).map_err(Failure::from)?;
    let is_short = |name: &String| name.chars().count() <= MAX_NAME_CHARS;
    if body.names.len() > MAX_NAMES || !body.names.iter().all(is_short) {
        return Err(Problem::bad_request(
            "invalid_value",
            format!("names: at most {MAX_NAMES}, of at most {MAX_NAME_CHARS} characters."),
        )
        .with("field", "names"));
    }
    let signed = api.reader(call, account).await?;
    let names = if body.names.is_empty() { own_names(&signed.now, &signed.caller)? } else { body.names };
    let about: Vec<&str> = names.iter().map(String::as_str).collect();
    let policy = password_policy(&signed.rows, signed.caller.account(), PASSWORDS)?;
    let broken = breaches(&policy, &password, &about).into_iter();
    let view = |breach: Breach| BreachView { code: breach.code(), message: breach.to_string() };
    let strength = strength(&password, &about);
    let judgement = Judgement {
        score: strength.score,
        guesses_log10: (strength.guesses_log10 * 10.0).round() / 10.0,
        breaches: broken.map(view).collect(),
    };
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &judgement))
}

fn own_names(view: &View, caller: &Caller) -> Result<Vec<String>, Problem> {
    let Principal::User(id) = caller.principal() else { return Ok(vec![caller.name().to_owned()]) };
    let found = user::find(view, caller.account(), id)?;
    Ok(found.map(|row| names_of(&row.value).into_iter().map(str::to_owned).collect()).unwrap_or_default())
}

/// Which passwords the account takes.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordsRule {
    /// Its own policy, for all ways by which passwords come. Without one each surface has its own: the native
    /// API the one that the members of this have by default, `/iam/v1` none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    own: Option<Policy>,
}

/// What a new password must be. What is left out is as in the rule of the native API.
#[derive(Serialize, Deserialize, ToSchema)]
#[schema(as = PasswordPolicy)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule of its own, on or off")]
struct Policy {
    /// The fewest characters (Unicode code points): 1 to 64.
    min_chars: u8,
    /// The most: 64 to 128.
    max_chars: u8,
    /// Of each of these kinds there is at least one character.
    required: Vec<Class>,
    /// No name of its user and not this product's in it.
    no_names: bool,
    /// Not among those that are guessed first.
    no_common: bool,
    /// No beginning like `password` or `qwerty`.
    no_beginnings: bool,
    /// No row of the keyboard in it, in either direction.
    no_keyboard_rows: bool,
    /// From how many of the last it must differ, the present one included: at most 24. Looked at where the
    /// present one is given.
    history: u8,
    /// Seconds after which it must be changed to sign in, a day at least. Left out, which is advised, it never
    /// must.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    max_age_s: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CharacterClass)]
#[serde(rename_all = "snake_case")]
enum Class {
    UpperCase,
    LowerCase,
    Digit,
    /// One of `!@#$%^&*(),.?":{}|<>`.
    SpecialCharacter,
}

impl From<PasswordRule> for PasswordsRule {
    fn from(rule: PasswordRule) -> Self {
        Self {
            own: match rule {
                PasswordRule::OfSurface => None,
                PasswordRule::Own(policy) => Some(policy.into()),
            },
        }
    }
}

impl PasswordsRule {
    pub(super) fn parse(self) -> Result<PasswordRule, Problem> {
        let Some(policy) = self.own else { return Ok(PasswordRule::OfSurface) };
        let has = |class| policy.required.contains(&class);
        let policy = PasswordPolicy {
            min_chars: policy.min_chars,
            max_chars: policy.max_chars,
            required: CharacterClasses {
                upper: has(Class::UpperCase),
                lower: has(Class::LowerCase),
                digit: has(Class::Digit),
                special: has(Class::SpecialCharacter),
            },
            no_names: policy.no_names,
            no_common: policy.no_common,
            no_beginnings: policy.no_beginnings,
            no_keyboard_rows: policy.no_keyboard_rows,
            history: policy.history,
            max_age: policy.max_age_s.map(Lifetime::from_secs),
        };
        Ok(PasswordRule::Own(policy.validated()?))
    }
}

impl From<PasswordPolicy> for Policy {
    fn from(policy: PasswordPolicy) -> Self {
        let CharacterClasses { upper, lower, digit, special } = policy.required;
        let classes = [
            (upper, Class::UpperCase),
            (lower, Class::LowerCase),
            (digit, Class::Digit),
            (special, Class::SpecialCharacter),
        ];
        Self {
            min_chars: policy.min_chars,
            max_chars: policy.max_chars,
            required: classes.into_iter().filter(|(is_on, _)| *is_on).map(|(_, class)| class).collect(),
            no_names: policy.no_names,
            no_common: policy.no_common,
            no_beginnings: policy.no_beginnings,
            no_keyboard_rows: policy.no_keyboard_rows,
            history: policy.history,
            max_age_s: policy.max_age.map(Lifetime::seconds),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        PASSWORDS.into()
    }
}

/// More than anybody has, and as long as the longest of them, an e-mail address, may be.
const MAX_NAMES: usize = 8;
const MAX_NAME_CHARS: usize = 254;
