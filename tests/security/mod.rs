//! Attacks, each named after the row of the checklist that it is about; and what proves each row.

mod canaries;
mod guessing;
mod listed;
mod passwords;
mod races;
mod slow;
mod sources;
mod storm;
mod strangers;
mod swaps;
mod tokens;
