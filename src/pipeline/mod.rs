//! Moving finished spans away from the threads that close them.

pub(crate) mod shard;
