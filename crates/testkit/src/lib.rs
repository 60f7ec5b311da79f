//! What tests and benchmarks of several crates share. No crate that users get depends on it.
//!
//! - [`memory`]: a journal and an archive in memory, the shortest reading of their contracts;
//! - [`suites`]: the tests that every journal and every archive passes;
//! - [`fixtures`]: rooms, proposals, commits and windows in few words;
//! - [`life`]: a node that runs, and connections that append to it;
//! - [`nats`]: NATS servers on loopback.

pub mod fixtures;
pub mod life;
pub mod memory;
pub mod nats;
pub mod suites;

/// Implements methods of [`roomlog_core::journal::Journal`] by those of a field, in a wrapper that changes
/// the others.
#[macro_export]
macro_rules! delegate_journal {
    ($inner:ident: $($method:ident)*) => { $($crate::delegate_journal!(@ $method $inner);)* };
    (@ facts $inner:ident) => {
        fn facts(&self) -> &roomlog_core::journal::JournalFacts {
            self.$inner.facts()
        }
    };
    (@ peers $inner:ident) => {
        fn peers(&self) -> Option<std::sync::Arc<dyn roomlog_core::journal::Peers>> {
            self.$inner.peers()
        }
    };
    (@ counts $inner:ident) => {
        fn counts(&self) -> Option<roomlog_core::journal::JournalCounts> {
            self.$inner.counts()
        }
    };
    (@ follow $inner:ident) => {
        fn follow(
            &self,
            partition: roomlog_core::journal::Partition,
            after: roomlog_core::journal::Mark,
        ) -> Box<dyn roomlog_core::journal::Follow> {
            self.$inner.follow(partition, after)
        }
    };
    (@ head $inner:ident) => {
        fn head(
            &self,
            partition: roomlog_core::journal::Partition,
        ) -> Result<roomlog_core::journal::Position, roomlog_core::journal::JournalError> {
            self.$inner.head(partition)
        }
    };
    (@ first $inner:ident) => {
        fn first(
            &self,
            partition: roomlog_core::journal::Partition,
        ) -> Result<roomlog_core::journal::Position, roomlog_core::journal::JournalError> {
            self.$inner.first(partition)
        }
    };
    (@ trim $inner:ident) => {
        fn has_surplus(&self, partition: roomlog_core::journal::Partition) -> bool {
            self.$inner.has_surplus(partition)
        }

        fn trim(
            &self,
            partition: roomlog_core::journal::Partition,
            upto: roomlog_core::journal::Position,
        ) {
            self.$inner.trim(partition, upto);
        }
    };
}
