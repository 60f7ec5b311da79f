//! The limits of the protocol, with their units, defaults and ranges. Those of [`Limits`] are
//! settings of a server, which it sends to clients in `hello.limits`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Author, EntryId, Kind, RoomName};

/// The largest integer on the wire: 2^53 − 1, which every JSON parser represents exactly.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;
/// How deep a client's frame may be nested; its own braces count as one.
pub const MAX_DEPTH: usize = 32;
/// The most rooms per `heads` frame.
pub const HEADS_PER_FRAME: usize = 1_000;
/// The most appends per batch over HTTP.
pub const BATCH_APPENDS: usize = 1_000;
/// The most rooms per page of the list over HTTP.
pub const ROOMS_PER_PAGE: usize = 1_000;
/// The default number of rooms per page of that list.
pub const DEFAULT_ROOMS: usize = 100;
/// The default `count` of a `join` or `update`.
pub const DEFAULT_COUNT: u64 = 50;
/// A rate per second that switches its limit off: more than a server can do.
pub const UNLIMITED_RATE: usize = 1_000_000_000;

/// A limit as its number on the wire and in settings: a time is in ms.
trait Number: Copy {
    fn from_number(number: u64) -> Self;

    fn number(self) -> u64;

    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.number())
    }

    fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <u64 as Deserialize>::deserialize(deserializer).map(Self::from_number)
    }
}

impl Number for usize {
    fn from_number(number: u64) -> Self {
        Self::try_from(number).unwrap_or(Self::MAX)
    }

    fn number(self) -> u64 {
        self as u64
    }
}

impl Number for Duration {
    fn from_number(ms: u64) -> Self {
        Self::from_millis(ms)
    }

    fn number(self) -> u64 {
        u64::try_from(self.as_millis()).unwrap_or(u64::MAX)
    }
}

macro_rules! limits {
    ($($(#[$doc:meta])*
        $field:ident: $type:ty = $name:literal, $default:expr, $least:expr, $most:expr;)*) => {
        /// The limits of a server, as in `hello.limits`. Sizes are in bytes.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Limits {
            $($(#[$doc])* #[serde(rename = $name, with = "Number")] pub $field: $type,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: Number::from_number($default as u64),)* }
            }
        }

        impl Limits {
            /// Checks that every setting is in its range.
            ///
            /// # Errors
            /// A sentence with the first setting that is not, and its range.
            pub fn check(&self) -> Result<(), String> {
                $(let (number, least, most) = (self.$field.number(), $least as u64, $most as u64);
                if number < least || number > most {
                    let name = $name;
                    return Err(format!("{name} is {number}, but must be from {least} to {most}"));
                })*
                self.check_together()
            }
        }
    };
}

const HOUR_MS: u64 = 60 * 60 * 1_000;
const DAY_MS: u64 = 24 * HOUR_MS;

limits! {
    /// The longest body, in bytes of UTF-8.
    body_bytes: usize = "body_bytes", 16_384, 1, 131_072;
    /// The longest meta, in bytes of UTF-8.
    meta_bytes: usize = "meta_bytes", 4_096, 1, 65_536;
    /// The longest frame from a client, in bytes.
    frame_bytes: usize = "frame_bytes", 131_072, 1_024, 16_777_216;
    /// The most entries in one reply or ack.
    page_entries: usize = "page_entries", 500, 1, 10_000;
    /// The most bytes of JSON in one reply or ack that holds more than one entry.
    page_bytes: usize = "page_bytes", 1_048_576, 1_024, 16_777_216;
    /// The longest room name, in bytes.
    room_bytes: usize = "room_bytes", RoomName::MAX_BYTES, 1, RoomName::MAX_BYTES;
    /// The longest author, in bytes of UTF-8.
    author_bytes: usize = "author_bytes", Author::MAX_BYTES, 1, Author::MAX_BYTES;
    /// The longest id, in bytes.
    id_bytes: usize = "id_bytes", EntryId::MAX_BYTES, 1, EntryId::MAX_BYTES;
    /// The longest kind, in bytes.
    kind_bytes: usize = "kind_bytes", Kind::MAX_BYTES, 4, Kind::MAX_BYTES;
    /// How many appends per connection and room may wait for an earlier `seq`.
    seq_wait: usize = "seq_wait", 64, 1, 4_096;
    /// How long an append waits for an earlier `seq`.
    seq_wait_for: Duration = "seq_wait_ms", 10_000, 1, DAY_MS;
    /// How long `after`, `seen` and `ref` wait for a slot that the node has not reached.
    ahead_for: Duration = "ahead_ms", 5_000, 1, DAY_MS;
    /// The timeout of an append.
    append_for: Duration = "append_ms", 30_000, 1, DAY_MS;
    /// The timeout of `login`.
    login_for: Duration = "login_ms", 10_000, 1, DAY_MS;
    /// After how much silence the server pings a connection.
    ping_after: Duration = "ping_ms", 20_000, 1, DAY_MS;
    /// How long a connection may be silent, without even a pong.
    idle_for: Duration = "idle_ms", 60_000, 1, DAY_MS;
    /// How many rooms a connection may follow, and append to with `seq`.
    rooms_per_connection: usize = "rooms_per_connection", 1_000, 1, 100_000;
    /// How many appends, and how many reads, of a connection may be unanswered; beyond that the
    /// server stops reading its socket.
    appends_in_flight: usize = "appends_in_flight", 256, 1, 65_536;
    /// How many connections a principal may have.
    connections_per_principal: usize = "connections_per_principal", 10_000, 1, 1_000_000;
    /// Frames and HTTP requests of a principal per second.
    frames_per_second: usize = "frames_per_second", UNLIMITED_RATE, 1, UNLIMITED_RATE;
    /// Appends of a principal per second.
    entries_per_second: usize = "entries_per_second", UNLIMITED_RATE, 1, UNLIMITED_RATE;
    /// Bytes of frames and HTTP bodies of a principal per second.
    bytes_per_second: usize = "bytes_per_second", UNLIMITED_RATE, 1, UNLIMITED_RATE;
    /// Rooms that a principal may make per second.
    rooms_per_second: usize = "rooms_per_second", 1_000, 1, UNLIMITED_RATE;
    /// The allowance that a quiet principal saves up: what its rates give in this time.
    burst_for: Duration = "burst_ms", 10_000, 1, HOUR_MS;
    /// How many rooms the log may have. The archive numbers up to 2^23, and first entries of a million
    /// more may be in flight.
    rooms: usize = "rooms", 1_000_000, 1, 7_000_000;
    /// How many connections may be without a first request, or on a WebSocket without `login`;
    /// beyond that the oldest of them is cut.
    pending_logins: usize = "pending_logins", 10_000, 1, 1_000_000;
    /// The timeout of the head of a request, from the opening of the connection or its first byte.
    handshake_for: Duration = "handshake_ms", 10_000, 1, 75_000;
    /// The longest head of a request, in bytes.
    header_bytes: usize = "header_bytes", 16_384, 8_192, 1_048_576;
    /// The timeout of the whole body of a POST.
    body_for: Duration = "body_ms", 120_000, 1, DAY_MS;
}

impl Limits {
    /// The names of those that bound what principals do, and not what a frame or an answer is like: they
    /// may change while clients are connected.
    pub const LIVE: [&str; 8] = [
        "connections_per_principal",
        "frames_per_second",
        "entries_per_second",
        "bytes_per_second",
        "rooms_per_second",
        "burst_ms",
        "rooms",
        "pending_logins",
    ];

    /// These limits with those of [`Limits::LIVE`] from `new`.
    #[must_use]
    pub fn with_live(self, new: &Self) -> Self {
        Self {
            connections_per_principal: new.connections_per_principal,
            frames_per_second: new.frames_per_second,
            entries_per_second: new.entries_per_second,
            bytes_per_second: new.bytes_per_second,
            rooms_per_second: new.rooms_per_second,
            burst_for: new.burst_for,
            rooms: new.rooms,
            pending_logins: new.pending_logins,
            ..self
        }
    }

    fn check_together(&self) -> Result<(), String> {
        // A body of the longest form has to fit a frame with its quotes, newlines and names.
        if self.body_bytes > self.frame_bytes / 2 {
            return Err(format!(
                "body_bytes is {}, but must be at most half of frame_bytes ({})",
                self.body_bytes, self.frame_bytes
            ));
        }
        if self.idle_for <= self.ping_after {
            return Err(format!(
                "idle_ms is {}, but must be greater than ping_ms ({})",
                self.idle_for.number(),
                self.ping_after.number()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_page() {
        let limits = Limits::default();
        assert_eq!(limits.check(), Ok(()));
        assert_eq!(
            (limits.body_bytes, limits.meta_bytes, limits.frame_bytes),
            (16_384, 4_096, 131_072)
        );
        assert_eq!((limits.page_entries, limits.page_bytes), (500, 1_048_576));
        let (seconds, waits) = (Duration::from_secs, (limits.seq_wait_for, limits.ahead_for));
        assert_eq!((limits.seq_wait, waits), (64, (seconds(10), seconds(5))));
    }

    #[test]
    fn the_live_limits_are_those_that_change() {
        let old = serde_json::to_value(Limits::default()).expect("JSON");
        let mut other = old.clone();
        for (_, number) in other.as_object_mut().expect("an object") {
            *number = (number.as_u64().expect("a number") + 1).into();
        }
        let other: Limits = serde_json::from_value(other).expect("limits");
        let new = serde_json::to_value(Limits::default().with_live(&other)).expect("JSON");
        for (name, number) in new.as_object().expect("an object") {
            let is_live = Limits::LIVE.contains(&name.as_str());
            assert_eq!(*number != old[name], is_live, "{name}");
        }
    }

    #[test]
    fn a_setting_out_of_its_range_is_named_with_the_range() {
        let limits = Limits { room_bytes: 129, ..Limits::default() };
        assert_eq!(limits.check(), Err("room_bytes is 129, but must be from 1 to 128".into()));
        let limits = Limits { ping_after: Duration::from_secs(60), ..Limits::default() };
        assert!(limits.check().is_err_and(|said| said.contains("greater than ping_ms")));
        let limits = Limits { body_bytes: 131_072, ..Limits::default() };
        assert!(limits.check().is_err_and(|said| said.contains("half of frame_bytes")));
    }
}
