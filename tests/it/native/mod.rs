//! `/v1`, one noun a file: everything the cluster can do and KatamariIAM does (contract part 2).

mod audit;
mod checks;
mod listing;
mod lockout;
mod people;
mod programs;
mod reading;
mod repeats;
mod sessions;
mod settings;
mod tokens;
mod transactions;
