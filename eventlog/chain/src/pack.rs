//! Entry packs: the bytes behind the tree, 256 positions to a file, aligned with the entry bundles.
//!
//! Pack `N` holds the positions from `256 * N` on. Each record is: position as big-endian `u64`, the 32 bytes of
//! `prev`, the length as big-endian `u32`, the exact bytes of the entry. There is no header and no padding; what a
//! pack holds is proved by the tree, not by the pack.

use crate::Hash;
use crate::entry::{MAX_ENTRY_BYTES, entry_hash};
use crate::tile::{FULL_WIDTH, MAX_RUNS, numbered_path, parse_numbered, ranges_between};

/// Bytes of a record before its entry: 8 + 32 + 4.
const HEAD: usize = 44;

/// Names one pack: `pack/<N>[.p/<W>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId {
    pub index: u64,
    /// Records in it, 1 to 256; below 256 the pack is partial.
    pub width: u16,
}

/// One entry with what its hash needs, borrowed from a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub position: u64,
    /// Hash of the stream's previous entry; zero for the first.
    pub prev: Hash,
    pub bytes: &'a [u8],
}

/// One entry with what its hash needs, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    pub position: u64,
    pub prev: Hash,
    pub bytes: Vec<u8>,
}

/// Why bytes are not the pack they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    #[error("record {record} is cut off")]
    Truncated { record: usize },
    #[error("record {record} says {length} bytes; an entry is 1 byte to 1 MiB")]
    Length { record: usize, length: u64 },
    #[error("record {record} is position {found}, not {expected}")]
    Position { record: usize, found: u64, expected: u64 },
    #[error("the pack holds {found} records, not {expected}")]
    Width { found: usize, expected: u16 },
}

impl PackId {
    /// The path below the packs' prefix.
    pub fn path(&self) -> String {
        numbered_path("pack", self.index, self.width)
    }

    /// Reads exactly what [`PackId::path`] writes.
    pub fn parse(path: &str) -> Option<PackId> {
        let (index, width) = parse_numbered(path.strip_prefix("pack/")?)?;
        let id = PackId { index, width };
        (index < MAX_RUNS && id.path() == path).then_some(id)
    }

    /// The first position it holds.
    pub fn first_position(&self) -> u64 {
        self.index * u64::from(FULL_WIDTH)
    }
}

/// All packs of a log of `size` entries.
pub fn packs_for(size: u64) -> Vec<PackId> {
    packs_between(0, size)
}

/// The packs of a log of `new` entries that a log of `old` entries does not have: new ones and wider ones.
pub fn packs_between(old: u64, new: u64) -> Vec<PackId> {
    ranges_between(old, new).map(|(index, width)| PackId { index, width }).collect()
}

impl Record<'_> {
    /// The hash that chains this entry and is its leaf data in the tree of `origin`.
    pub fn entry_hash(&self, origin: &str) -> Hash {
        entry_hash(origin, &self.prev, self.bytes)
    }

    /// A copy that owns its bytes.
    pub fn to_owned_record(&self) -> OwnedRecord {
        OwnedRecord { position: self.position, prev: self.prev, bytes: self.bytes.to_vec() }
    }
}

impl OwnedRecord {
    /// The same record, borrowed.
    pub fn as_record(&self) -> Record<'_> {
        Record { position: self.position, prev: self.prev, bytes: &self.bytes }
    }
}

/// The bytes of a pack with these records.
pub fn encode(records: &[Record<'_>]) -> Vec<u8> {
    let length = records.iter().map(|record| HEAD + record.bytes.len()).sum();
    let mut out = Vec::with_capacity(length);
    for record in records {
        let length = u32::try_from(record.bytes.len()).expect("an entry is at most 1 MiB");
        out.extend_from_slice(&record.position.to_be_bytes());
        out.extend_from_slice(&record.prev.0);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(record.bytes);
    }
    out
}

/// The records of the pack `id`, which must be exactly its positions, in order, with nothing after them.
pub fn decode<'a>(id: &PackId, bytes: &'a [u8]) -> Result<Vec<Record<'a>>, PackError> {
    let mut found = Vec::with_capacity(usize::from(id.width));
    for (record, decoded) in records(bytes).enumerate() {
        let decoded = decoded?;
        if record >= usize::from(id.width) {
            return Err(PackError::Width { found: record + 1, expected: id.width });
        }
        let expected = id.first_position() + record as u64;
        if decoded.position != expected {
            return Err(PackError::Position { record, found: decoded.position, expected });
        }
        found.push(decoded);
    }
    if found.len() != usize::from(id.width) {
        return Err(PackError::Width { found: found.len(), expected: id.width });
    }
    Ok(found)
}

/// Reads records one by one, without checking their positions; stops after the first error.
pub fn records(bytes: &[u8]) -> Records<'_> {
    Records { rest: bytes, record: 0 }
}

/// The records of a pack, one by one.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    record: usize,
}

impl<'a> Records<'a> {
    fn read(&self) -> Result<(Record<'a>, &'a [u8]), PackError> {
        let truncated = PackError::Truncated { record: self.record };
        let (position, rest) = self.rest.split_first_chunk::<8>().ok_or(truncated)?;
        let (prev, rest) = rest.split_first_chunk::<32>().ok_or(truncated)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(truncated)?;
        let length = u32::from_be_bytes(*length);
        let bounded = usize::try_from(length).ok().filter(|n| (1..=MAX_ENTRY_BYTES).contains(n));
        let Some(bounded) = bounded else {
            return Err(PackError::Length { record: self.record, length: u64::from(length) });
        };
        let (bytes, rest) = rest.split_at_checked(bounded).ok_or(truncated)?;
        let position = u64::from_be_bytes(*position);
        Ok((Record { position, prev: Hash(*prev), bytes }, rest))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, PackError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match self.read() {
            Ok((record, rest)) => {
                self.rest = rest;
                self.record += 1;
                Some(Ok(record))
            }
            Err(error) => {
                // Nothing after a broken record can be trusted to be one.
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{OwnedRecord, PackError, PackId, Record, decode, encode, packs_between, packs_for, records};
    use crate::Hash;
    use crate::hash::sha256;
    use crate::hex;

    const PACK_2: PackId = PackId { index: 2, width: 3 };

    fn sample() -> Vec<OwnedRecord> {
        (512..515u64)
            .map(|position| OwnedRecord {
                position,
                prev: sha256(&[&position.to_be_bytes()]),
                bytes: format!("{{\"n\":{position}}}").into_bytes(),
            })
            .collect()
    }

    fn encoded(sample: &[OwnedRecord]) -> Vec<u8> {
        encode(&sample.iter().map(OwnedRecord::as_record).collect::<Vec<_>>())
    }

    #[test]
    fn a_record_has_the_bytes_of_the_format() {
        let record = Record { position: 258, prev: Hash::ZERO, bytes: b"{}" };
        let expected = format!("0000000000000102{}000000027b7d", "00".repeat(32));
        assert_eq!(hex::encode(&encode(&[record])), expected);
    }

    #[test]
    fn records_come_back() {
        let sample = sample();
        let bytes = encoded(&sample);
        let decoded = decode(&PACK_2, &bytes).unwrap();
        let owned: Vec<OwnedRecord> = decoded.iter().map(Record::to_owned_record).collect();
        assert_eq!(owned, sample);
        assert_eq!(records(&[]).count(), 0);
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_refused() {
        let bytes = encoded(&sample());
        for length in 0..bytes.len() {
            assert!(decode(&PACK_2, &bytes[..length]).is_err(), "the first {length} bytes");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(decode(&PACK_2, &longer), Err(PackError::Truncated { record: 3 }));
    }

    #[test]
    fn another_position_or_count_is_refused() {
        let sample = sample();
        let bytes = encoded(&sample);
        let other = PackId { index: 3, width: 3 };
        let error = PackError::Position { record: 0, found: 512, expected: 768 };
        assert_eq!(decode(&other, &bytes), Err(error));
        let wider = PackId { index: 2, width: 4 };
        assert_eq!(decode(&wider, &bytes), Err(PackError::Width { found: 3, expected: 4 }));
        let narrower = PackId { index: 2, width: 2 };
        assert_eq!(decode(&narrower, &bytes), Err(PackError::Width { found: 3, expected: 2 }));
        let swapped = encoded(&[sample[1].clone(), sample[0].clone(), sample[2].clone()]);
        assert!(matches!(decode(&PACK_2, &swapped), Err(PackError::Position { record: 0, .. })));
    }

    #[test]
    fn a_length_out_of_bounds_is_refused_before_reading() {
        for (length, shown) in [([0, 0, 0, 0], 0), ([0, 16, 0, 1], 1_048_577), ([255; 4], 4_294_967_295)] {
            let mut bytes = encode(&[Record { position: 0, prev: Hash::ZERO, bytes: b"{}" }]);
            bytes[40..44].copy_from_slice(&length);
            let mut read = records(&bytes);
            assert_eq!(read.next(), Some(Err(PackError::Length { record: 0, length: shown })));
            assert_eq!(read.next(), None);
        }
    }

    #[test]
    fn paths_follow_the_bundles() {
        let id = PackId { index: 1_234_067, width: 256 };
        assert_eq!(id.path(), "pack/x001/x234/067");
        assert_eq!(PackId::parse("pack/x001/x234/067"), Some(id));
        assert_eq!(PACK_2.path(), "pack/002.p/3");
        for path in ["pack/2", "pack/x000/002", "packs/002", "pack/002.p/256", "pack/002/"] {
            assert_eq!(PackId::parse(path), None, "{path}");
        }
        assert_eq!(PackId::parse("pack/x035/x184/x372/x088/832"), None, "beyond 2^53 positions");
        assert_eq!(packs_for(515).len(), 3);
        assert_eq!(packs_between(512, 515), [PACK_2]);
    }
}
