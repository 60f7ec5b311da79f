//! What tests and benchmarks of several crates share. No shipped crate depends on it.
//!
//! - [`memory`]: a journal and an archive in memory, simple and complete;
//! - [`suites`]: the tests that every journal and every archive must pass;
//! - [`fixtures`]: short constructors of rooms, proposals, commits and windows;
//! - [`life`]: a running node, and connections that append to it;
//! - [`nats`]: NATS servers on loopback.

pub mod fixtures;
pub mod life;
pub mod memory;
pub mod nats;
pub mod suites;

/// Implements methods of [`roomlog_core::journal::Journal`] by delegation to a field, in a wrapper
/// that overrides the others.
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

        fn wipe(
            &self,
            partition: roomlog_core::journal::Partition,
            wipe: &roomlog_core::journal::Wipe,
        ) -> Result<bool, roomlog_core::journal::JournalError> {
            self.$inner.wipe(partition, wipe)
        }
    };
}
