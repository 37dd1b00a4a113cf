//! `conclave keys`: which key seals what, and replacing it while the nodes serve.
//!
//! ```text
//! conclave keys add        on one machine: a new key, last in the key file; copy the file to all nodes
//! conclave keys reload     on each node: now all of them open what the new key seals
//! conclave keys promote    on one machine: the last key becomes the first; copy the file to all nodes
//! conclave keys reload     on each node: seals everything under the new key
//! conclave keys status     on each node: the old key seals nothing any more
//! conclave keys drop       on one machine: leaves the first key only; copy the file, reload on each node
//! ```

use serde::Deserialize;

use super::{Failure, KeysCommand, operator};
use crate::auth::kek::Kek;
use crate::auth::key_file::{KeyEdit, KeySource};
use crate::config::Config;

/// What `GET /v1/cluster/keys` answers.
#[derive(Debug, Deserialize)]
struct Keys {
    keys: Vec<Key>,
    outdated: usize,
}

#[derive(Debug, Deserialize)]
struct Key {
    id: String,
    role: String,
    data_keys: usize,
    secrets: usize,
}

/// What `POST /v1/cluster/keys/reload` answers.
#[derive(Debug, Deserialize)]
struct Reloaded {
    data_keys: usize,
    secrets: usize,
    now: Keys,
}

const PATH: &str = "/v1/cluster/keys";

pub(super) async fn run(config: &Config, command: &KeysCommand) -> Result<(), Failure> {
    match command {
        KeysCommand::Status { json, .. } => status(config, *json).await,
        KeysCommand::Reload { .. } => reload(config).await,
        KeysCommand::Add { .. } => edit(config, KeyEdit::Add),
        KeysCommand::Promote { .. } => edit(config, KeyEdit::Promote),
        KeysCommand::Drop { .. } => edit(config, KeyEdit::DropOthers),
    }
}

async fn status(config: &Config, json: bool) -> Result<(), Failure> {
    let answer = operator::ask(config, "GET", PATH).await?;
    if json {
        println!("{}", answer.trim_end());
    } else {
        print!("{}", table(&read(&answer)?));
    }
    Ok(())
}

async fn reload(config: &Config) -> Result<(), Failure> {
    let (mut data_keys, mut secrets) = (0, 0);
    loop {
        let answer = operator::ask(config, "POST", &format!("{PATH}/reload")).await?;
        let done: Reloaded = read(&answer)?;
        data_keys += done.data_keys;
        secrets += done.secrets;
        // A node does as much as it may in the time of one request.
        if done.now.outdated == 0 || done.data_keys + done.secrets == 0 {
            println!("{data_keys} data keys and {secrets} secrets are sealed again\n");
            print!("{}", table(&done.now));
            return Ok(());
        }
    }
}

fn edit(config: &Config, edit: KeyEdit) -> Result<(), Failure> {
    let KeySource::File(path) = KeySource::of(config) else {
        return Err("the keys come from the setting encryption_key: change it there, and restart".into());
    };
    let sealer = Kek::edit_file(&path, edit)?;
    println!("{}", path.display());
    for (index, id) in sealer.key_ids().enumerate() {
        println!("{id}  {}", if index == 0 { "seals" } else { "opens" });
    }
    println!("Copy the file to all nodes, then run `conclave keys reload` on each.");
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(answer: &str) -> Result<T, Failure> {
    serde_json::from_str(answer).map_err(|error| format!("the node answered something else: {error}").into())
}

fn table(keys: &Keys) -> String {
    let mut lines = vec![format!("{:<18}{:<9}{:>9}{:>9}", "KEY", "ROLE", "DATA KEYS", "SECRETS")];
    for Key { id, role, data_keys, secrets } in &keys.keys {
        lines.push(format!("{id:<18}{role:<9}{data_keys:>9}{secrets:>9}"));
    }
    let more = match keys.outdated {
        0 if keys.keys.len() > 1 => "\nEverything here is sealed under the first key.\n".to_owned(),
        0 => String::new(),
        count => format!("\n{count} are not sealed under the first key: run `conclave keys reload`.\n"),
    };
    lines.push(more);
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_each_key_seals() {
        let key = |id: &str, role: &str, data_keys, secrets| Key {
            id: id.to_owned(),
            role: role.to_owned(),
            data_keys,
            secrets,
        };
        let (new, old) = (key("00000000000000aa", "seals", 3, 10), key("00000000000000bb", "opens", 1, 0));
        let expected = "KEY               ROLE     DATA KEYS  SECRETS\n\
            00000000000000aa  seals            3       10\n\
            00000000000000bb  opens            1        0\n\
            \n1 are not sealed under the first key: run `conclave keys reload`.\n";
        assert_eq!(table(&Keys { keys: vec![new, old], outdated: 1 }), expected);
        let only = Keys { keys: vec![key("00000000000000aa", "seals", 3, 10)], outdated: 0 };
        assert!(table(&only).ends_with("3       10\n"));
    }
}
