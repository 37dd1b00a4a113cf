//! A request as the log will know it: which one it is, until when it matters, where it came from.
//!
//! # Why ids and secrets follow from the key
//! A retry with the same `Idempotency-Key` may reach another node. Its command must be the same to the
//! byte, and its answer must show the same API key, which nobody stores in clear. So what is minted for
//! such a request is derived from the cluster's mint key and the request's name. Only a caller that the
//! cluster knows, or the very same body, gets the same secrets: the body is a part of the name.

use std::net::IpAddr;

use conclave_cluster::RequestId;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::admit::Left;
use crate::auth::mint::RequestName;
use crate::domain::Origin;

/// One request of one caller.
#[derive(Clone, Debug)]
pub struct Request {
    /// By then it is answered, whatever the answer is.
    pub deadline: Instant,
    pub origin: Origin,
    source: Option<IpAddr>,
    left: Left,
    named: Option<Named>,
    random: [u8; 16],
}

#[derive(Clone, Debug)]
struct Named {
    account: String,
    principal: String,
    key: String,
    route: String,
    body: [u8; 32],
    // The caller and the body, for the mint.
    drawn_for: String,
}

/// How the log recognises a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposed {
    pub id: RequestId,
    pub fingerprint: u64,
}

impl Request {
    /// A request without an idempotency key: each one is new.
    #[must_use]
    pub fn once(deadline: Instant, origin: Origin) -> Self {
        let mut random = [0; 16];
        // Without randomness the mint fails right after, with an error.
        let _ = aws_lc_rs::rand::fill(&mut random);
        Self { deadline, origin, source: None, left: Left::default(), named: None, random }
    }

    /// The request as one of that source, which counts against limits; what is left of them is told in `left`.
    #[must_use]
    pub fn counted(mut self, source: IpAddr, left: Left) -> Self {
        self.source = Some(source);
        self.left = left;
        self
    }

    /// Whose limits it counts against; the node's own requests against nobody's.
    pub(super) const fn source(&self) -> Option<IpAddr> {
        self.source
    }

    pub(super) const fn left(&self) -> &Left {
        &self.left
    }

    /// The request under the client's key. `account` and `principal` say who asks (a stranger is ""), and
    /// `route` what: two callers never share a key. `said` is all else that makes it this request and not
    /// another: the body, and what the path names.
    #[must_use]
    pub fn keyed(mut self, account: &str, principal: &str, key: &str, route: &str, said: &[u8]) -> Self {
        let body: [u8; 32] = Sha256::digest(said).into();
        self.named = Some(Named {
            account: account.to_owned(),
            principal: principal.to_owned(),
            key: key.to_owned(),
            route: route.to_owned(),
            body,
            drawn_for: format!("{principal} {body:x?}"),
        });
        self
    }

    /// A follow-up of the same request: another command under an id of its own.
    #[must_use]
    pub fn step(&self, step: u32) -> Self {
        let mut next = self.clone();
        match &mut next.named {
            Some(named) => named.route = format!("{}#{step}", named.route),
            None => {
                next.random = first_half(&Sha256::digest([&self.random[..], &step.to_be_bytes()].concat()));
            }
        }
        next
    }

    /// A follow-up that is another command for another body, also under the same key. Guesses at a secret are
    /// written down so: else whoever sends all of them under one key has only the first one counted.
    #[must_use]
    pub fn guess(&self, step: u32) -> Self {
        let mut next = self.step(step);
        if let Some(named) = &mut next.named {
            named.route = format!("{} {:x?}", named.route, named.body);
        }
        next
    }

    /// What the mint derives from, for a keyed request.
    pub(crate) fn name(&self) -> Option<RequestName<'_>> {
        self.named.as_ref().map(|named| RequestName {
            account: &named.account,
            principal: &named.drawn_for,
            key: &named.key,
            route: &named.route,
        })
    }

    /// How the log recognises it.
    pub(crate) fn proposed(&self) -> Proposed {
        match &self.named {
            None => Proposed { id: RequestId(self.random), fingerprint: 0 },
            Some(named) => {
                let mut hash = Sha256::new();
                for part in [&named.account, &named.principal, &named.key, &named.route] {
                    hash.update((part.len() as u64).to_be_bytes());
                    hash.update(part);
                }
                let fingerprint = named.body.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                Proposed { id: RequestId(first_half(&hash.finalize())), fingerprint }
            }
        }
    }
}

pub(super) fn first_half(hash: &[u8]) -> [u8; 16] {
    let mut half = [0; 16];
    for (to, from) in half.iter_mut().zip(hash) {
        *to = *from;
    }
    half
}
