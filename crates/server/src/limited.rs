//! The limits whose effects `/metrics` counts.
//!
//! Enters: a limit. Leaves: its name, which is that of its setting.

/// A limit that somebody can reach, by its setting.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Limit {
    Sockets,
    ConnectionsPerPrincipal,
    FramesPerSecond,
    EntriesPerSecond,
    BytesPerSecond,
    RoomsPerSecond,
    Rooms,
    PendingLogins,
    LoginMs,
    HandshakeMs,
    HeaderBytes,
    BodyMs,
}

impl Limit {
    pub(crate) const ALL: [Self; 12] = [
        Self::Sockets,
        Self::ConnectionsPerPrincipal,
        Self::FramesPerSecond,
        Self::EntriesPerSecond,
        Self::BytesPerSecond,
        Self::RoomsPerSecond,
        Self::Rooms,
        Self::PendingLogins,
        Self::LoginMs,
        Self::HandshakeMs,
        Self::HeaderBytes,
        Self::BodyMs,
    ];

    /// The name of the setting.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::ConnectionsPerPrincipal => "connections_per_principal",
            Self::FramesPerSecond => "frames_per_second",
            Self::EntriesPerSecond => "entries_per_second",
            Self::BytesPerSecond => "bytes_per_second",
            Self::RoomsPerSecond => "rooms_per_second",
            Self::Rooms => "rooms",
            Self::PendingLogins => "pending_logins",
            Self::LoginMs => "login_ms",
            Self::HandshakeMs => "handshake_ms",
            Self::HeaderBytes => "header_bytes",
            Self::BodyMs => "body_ms",
        }
    }
}
