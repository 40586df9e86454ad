//! Whether this is still the process that something was made in.
//!
//! A child that was forked has a copy of everything but the threads: what waits for one of them waits for ever, and
//! a file or connection of the parent's would be written to by two. There is no hook at a fork without `unsafe`, so
//! whoever must know asks. The question is a system call, some fifty nanoseconds: for cold paths.

/// The process something was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessIdentity(u32);

impl ProcessIdentity {
    /// This process.
    pub(crate) fn of_this_process() -> Self {
        ProcessIdentity(std::process::id())
    }

    /// Whether this is that process, and no child of it.
    pub(crate) fn is_this_process(self) -> bool {
        self == Self::of_this_process()
    }

    /// A process that is not this one.
    #[cfg(test)]
    pub(crate) fn of_another() -> Self {
        ProcessIdentity(!std::process::id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself_on_every_thread() {
        let own = ProcessIdentity::of_this_process();
        assert!(own.is_this_process());
        assert!(std::thread::spawn(move || own.is_this_process()).join().unwrap());
        assert!(!ProcessIdentity::of_another().is_this_process());
    }
}
