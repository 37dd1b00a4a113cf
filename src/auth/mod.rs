//! Secrets and proofs: password hashes, minted ids and secrets, sealed keys, signed tokens.
