//! The rows of the machine: what reads see, what a command may write, their history and digest.

use std::marker::PhantomData;

/// The rows as one command sees them.
#[derive(Debug)]
pub struct Transaction<'a>(PhantomData<&'a ()>);
