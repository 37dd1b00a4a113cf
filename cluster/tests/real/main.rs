//! Three real nodes in one process: TLS on loopback, files in temporary folders, real time.

mod harness;
mod join;
mod machine;
mod reads;
mod restart;
mod strangers;
