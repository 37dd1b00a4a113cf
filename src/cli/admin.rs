//! `conclave admin create`: an administrator of the default account.
//!
//! # Why the password is no argument
//! Command lines are seen by every user of a machine and kept by shells. It comes from standard input, or is made
//! here and printed once.

use std::io::{self, BufRead, Write};

use serde::Deserialize;
use serde_json::json;

use super::{AdminCommand, Failure, operator};
use crate::auth::mint::{ApiKeyForm, Mint};
use crate::config::Config;
use crate::secret::Secret;

/// What `POST /v1/cluster/admins` answers.
#[derive(Debug, Deserialize)]
struct Made {
    id: String,
    username: String,
}

const PATH: &str = "/v1/cluster/admins";

pub(super) async fn run(config: &Config, command: &AdminCommand) -> Result<(), Failure> {
    let AdminCommand::Create { username, email, password_stdin, .. } = command;
    let password = if *password_stdin { first_line(&mut io::stdin().lock())? } else { made_up()? };
    let body = json!({"username": username, "email": email, "password": password.expose()});
    let body = Secret::new(body.to_string());
    let answer = operator::send(config, "POST", PATH, Some(body.expose())).await?;
    let made: Made = serde_json::from_str(&answer)
        .map_err(|error| format!("the node answered something else: {error}"))?;
    let mut said = format!("administrator {} ({})\n", made.username, made.id);
    if !password_stdin {
        said = format!("{said}password: {}\nIt is shown this once.\n", password.expose());
    }
    // Not `print!`, which panics where nobody reads on.
    Ok(io::stdout().write_all(Secret::new(said).expose().as_bytes())?)
}

/// A line, without its end.
fn first_line(from: &mut impl BufRead) -> Result<Secret<String>, Failure> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    if line.is_empty() { Err("there is no password on standard input".into()) } else { Ok(Secret::new(line)) }
}

/// 122 random bits, in characters that can be read out.
fn made_up() -> Result<Secret<String>, Failure> {
    Ok(Mint::random().api_key(ApiKeyForm::Uuid4)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line_and_nothing_of_it_is_cut() {
        for (input, password) in
            [("secret\n", "secret"), ("secret", "secret"), (" a b \r\nmore\n", " a b "), ("x\n\n", "x")]
        {
            assert_eq!(first_line(&mut input.as_bytes()).unwrap().expose(), password);
        }
        assert!(first_line(&mut "".as_bytes()).is_err() && first_line(&mut "\n".as_bytes()).is_err());
    }
}
