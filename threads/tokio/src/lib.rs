//! Tokio under Shuttle, with the functions that shuttle-tokio lacks.

pub use shuttle_tokio::*;

/// As `tokio::task`.
pub mod task {
    pub use shuttle_tokio::task::*;

    /// Runs `work`: under Shuttle the other tasks can go on anyway.
    pub fn block_in_place<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
}

/// As `tokio::runtime`.
pub mod runtime {
    use std::{convert::Infallible, ops::Deref};

    pub use shuttle_tokio::runtime::*;

    /// The runtime, which has several threads.
    #[derive(Debug, Clone)]
    pub struct Handle(shuttle_tokio::runtime::Handle);

    impl Deref for Handle {
        type Target = shuttle_tokio::runtime::Handle;

        fn deref(&self) -> &Self::Target {
            &self.0
        }
    }

    impl Handle {
        /// The only runtime that there is.
        #[must_use]
        pub fn current() -> Self {
            Self(shuttle_tokio::runtime::Handle::current())
        }

        /// The same.
        ///
        /// # Errors
        /// Never.
        pub fn try_current() -> Result<Self, Infallible> {
            Ok(Self::current())
        }

        /// Tasks run in any order, as on several threads.
        #[must_use]
        pub fn runtime_flavor(&self) -> RuntimeFlavor {
            RuntimeFlavor::MultiThread
        }
    }
}
