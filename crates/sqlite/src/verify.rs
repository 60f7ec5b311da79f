//! Verifying a stopped directory: see below.
