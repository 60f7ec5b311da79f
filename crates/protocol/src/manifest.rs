//! The manifest of a backup: what a copy of an archive holds, for verification.
//!
//! Invariant: archives with equal `digest` hold the same rooms with the same logs; `sha256`
//! identifies one file.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Digest, ErrorFrame, RoomName, Slot};

/// The name of the manifest's file, next to the archive.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The suffix of a backup's incomplete file.
pub const PART: &str = ".part";
/// The only format that this version reads and writes.
pub const MANIFEST_FORMAT: u32 = 1;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the backup: [`MANIFEST_FORMAT`].
    pub format: u32,
    /// The name of the log.
    pub log: String,
    /// The journal's position up to which it is complete.
    pub position: u64,
    /// The number of rooms with entries.
    pub rooms: u64,
    /// The number of entries in all rooms.
    pub entries: u64,
    /// The [`HeadsDigest`] of all rooms.
    pub digest: Digest,
    /// When it was taken, in ms since the Unix epoch.
    pub taken_at: u64,
    /// The size of the archive's file, in bytes.
    pub archive_bytes: u64,
    /// The SHA-256 of the archive's file; `None` until the file was read to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// A line of the answer to `GET /v1/backup`: JSON and a line feed.
///
/// ```text
///  {"copying":{"done":0,"of":1048576}}    any number of these
///  {"manifest":{…}}                       then archive_bytes bytes: the archive's file
///  {"sha256":"…"}                         the last line; without it the backup is truncated
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupLine {
    /// The server is copying its archive.
    Copying {
        /// Bytes copied.
        done: u64,
        /// Bytes to copy, as far as is known.
        of: u64,
    },
    /// The copy is done; its bytes follow.
    Manifest(Manifest),
    /// The SHA-256 of the bytes.
    Sha256(Digest),
    /// The backup failed.
    Error(Box<ErrorFrame>),
}

/// A digest of the heads of all rooms, in byte order of their names.
///
/// ```text
///  SHA256("roomlog/heads/v1" ‖ for each room: lp(room) ‖ u64(end) ‖ D(end − 1))
/// ```
#[derive(Clone)]
pub struct HeadsDigest(Sha256);

impl Default for HeadsDigest {
    fn default() -> Self {
        let mut sha = Sha256::new();
        sha.update(b"roomlog/heads/v1");
        Self(sha)
    }
}

impl HeadsDigest {
    /// Adds the next room: its log ends before slot `end`, with this digest.
    pub fn room(&mut self, room: &RoomName, end: Slot, digest: &Digest) {
        let length = u32::try_from(room.len()).unwrap_or(u32::MAX);
        self.0.update(length.to_be_bytes());
        self.0.update(room.as_bytes());
        self.0.update(end.to_be_bytes());
        self.0.update(digest.0);
    }

    /// The digest of the added rooms.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl Manifest {
    /// Parses a manifest.
    ///
    /// # Errors
    /// A sentence: it is not a manifest, or one of another format.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let manifest: Self = serde_json::from_str(text).map_err(|why| why.to_string())?;
        if manifest.format == MANIFEST_FORMAT {
            return Ok(manifest);
        }
        Err(format!("its format {} is not supported by this version", manifest.format))
    }

    /// The manifest as indented JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        match serde_json::to_string_pretty(self) {
            Ok(text) => text + "\n",
            Err(why) => unreachable!("names and numbers are always JSON: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let mut heads = HeadsDigest::default();
        let room = RoomName::new("general").expect("a room");
        heads.room(&room, 0, &Digest::start(&room));
        Manifest {
            format: MANIFEST_FORMAT,
            log: "01M81WSNW9CE6W6228NGE1B62E".into(),
            position: 7,
            rooms: 1,
            entries: 12,
            digest: heads.finish(),
            taken_at: 1_763_796_120_123,
            archive_bytes: 4_096,
            sha256: Some(Digest([3; 32])),
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let whole = manifest();
        assert_eq!(Manifest::from_json(&whole.to_json()), Ok(whole.clone()));
        let open = Manifest { sha256: None, ..whole };
        assert!(!open.to_json().contains("sha256"));
        assert_eq!(Manifest::from_json(&open.to_json()), Ok(open));
    }

    #[test]
    fn another_format_and_a_truncated_manifest_are_refused() {
        let text = manifest().to_json();
        let newer = text.replace("\"format\": 1", "\"format\": 2");
        let said = Manifest::from_json(&newer).expect_err("a later format");
        assert!(said.contains("format 2 is not supported"), "{said}");
        assert!(Manifest::from_json(&text[..text.len() / 2]).is_err());
    }

    #[test]
    fn the_digest_over_heads_depends_on_every_part_of_each() {
        let (a, b) = (RoomName::new("a").expect("a room"), RoomName::new("b").expect("a room"));
        let of = |heads: &[(&RoomName, Slot, u8)]| {
            let mut sum = HeadsDigest::default();
            heads.iter().for_each(|(room, end, byte)| sum.room(room, *end, &Digest([*byte; 32])));
            sum.finish()
        };
        let one = of(&[(&a, 1, 1)]);
        for other in [of(&[]), of(&[(&b, 1, 1)]), of(&[(&a, 2, 1)]), of(&[(&a, 1, 2)])] {
            assert_ne!(one, other);
        }
        assert_ne!(of(&[(&a, 1, 1), (&b, 1, 1)]), of(&[(&b, 1, 1), (&a, 1, 1)]));
    }
}
