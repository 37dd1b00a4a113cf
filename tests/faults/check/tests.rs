//! The checkers, tried on histories that are known to be bad, and on those of a search.
