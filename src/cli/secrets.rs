//! `conclave secrets`: the files that all nodes of a new cluster share which finds together by itself.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use conclave_cluster::pki::Authority;
use conclave_cluster::{Clock, SystemClock};
use zeroize::Zeroizing;

use super::{Failure, say};
use crate::auth::kek::Kek;

/// Makes what is missing of the two; what is there stays.
pub(super) fn make(folder: &Path) -> Result<(), Failure> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let (authority, keys) = (folder.join("authority.pem"), folder.join("conclave.kek"));
    if authority.exists() {
        // Said here rather than by three nodes.
        let text = Zeroizing::new(fs::read_to_string(&authority)?);
        let cluster = Authority::cluster_of(&text)?;
        Authority::from_pem(cluster, &text, &text)?;
        say(&format!("{} is there, of cluster {cluster}", authority.display()));
    } else {
        let made = Authority::create(SystemClock.now())?;
        let text = Zeroizing::new(format!("{}{}", made.certificate_pem(), *made.key_pem()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&authority)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        say(&format!("{} was made, of the new cluster {}", authority.display(), made.cluster()));
    }
    let is_there = keys.exists();
    Kek::read_or_create_file(&keys)?;
    say(&format!("{} {}", keys.display(), if is_there { "is there" } else { "was made" }));
    say("Keep both: a node needs them to start, and a backup needs the second one to be read.");
    Ok(())
}
