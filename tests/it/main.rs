//! Stories over the whole of it, in one binary.

mod framing;
mod raw;
mod tidy;
