//! A scrape compressed on its way out.

use bytes::Bytes;
use crc32fast::Hasher;

use super::deflate::Deflate;

/// The compressed size at which a chunk is given out; it is larger by up to what one chunk of text becomes.
const CHUNK: usize = 32 << 10;

/// RFC 1952: deflate, no name and no time, the fastest compression, an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// Chunks, compressed as they come into one gzip member. (Several members one after the other would be legal, but
/// curl and httpx read only the first.)
#[derive(Debug)]
pub struct Gzip<I> {
    chunks: I,
    deflate: Deflate,
    checksum: Hasher,
    /// The length of the text, modulo 2^32.
    len: u32,
    begun: bool,
    ended: bool,
}

impl<I: Iterator<Item = Bytes>> Gzip<I> {
    /// The compressed form of all chunks, which should consist of whole lines.
    pub fn new(chunks: I) -> Self {
        Self { chunks, deflate: Deflate::default(), checksum: Hasher::new(), len: 0, begun: false, ended: false }
    }
}

impl<I: Iterator<Item = Bytes>> Iterator for Gzip<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let mut out = Vec::with_capacity(4 * CHUNK);
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(&HEADER);
            self.deflate.begin(&mut out);
        }
        while out.len() < CHUNK {
            let Some(chunk) = self.chunks.next() else {
                self.deflate.finish(&mut out);
                for number in [self.checksum.clone().finalize(), self.len] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
                self.ended = true;
                break;
            };
            self.checksum.update(&chunk);
            self.len = self.len.wrapping_add(chunk.len() as u32);
            self.deflate.push(&mut out, &chunk);
        }
        Some(out.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::bufread::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn decoded(mut compressed: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        GzDecoder::new(&mut compressed).read_to_end(&mut decoded).unwrap();
        assert!(compressed.is_empty(), "nothing follows the first member");
        decoded
    }

    fn round_trips(chunks: Vec<Vec<u8>>) -> Result<(), TestCaseError> {
        let whole = chunks.concat();
        let compressed: Vec<u8> = Gzip::new(chunks.into_iter().map(Bytes::from)).flatten().collect();
        prop_assert!(decoded(&compressed) == whole);
        Ok(())
    }

    /// Lines that are like one another by steps: what one edit does to the one before.
    fn any_lines() -> impl Strategy<Value = Vec<u8>> {
        let edit = (0..400_usize, 0..60_usize, "[a-z\"\\\\é]{0,40}");
        let line = proptest::collection::vec("[a-z]{1,12}=\"[ -~]{0,300}\",", 1..6);
        (line, proptest::collection::vec(edit, 0..40)).prop_map(|(line, edits)| {
            let mut line = line.concat().into_bytes();
            let mut text = line.clone();
            for (at, gone, come) in edits {
                let at = at % line.len().max(1);
                let end = line.len().min(at + gone);
                line.splice(at.min(end)..end, come.into_bytes());
                text.push(b'\n');
                text.extend_from_slice(&line);
            }
            text
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn lines_come_back(chunks in proptest::collection::vec(any_lines(), 0..4)) {
            round_trips(chunks)?;
        }

        #[test]
        fn whatever_else_comes_back(chunks in proptest::collection::vec("([a\"\n]|\\PC){0,2000}", 0..4)) {
            round_trips(chunks.into_iter().map(String::into_bytes).collect())?;
        }

        #[test]
        fn bytes_come_back(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..4)) {
            round_trips(chunks)?;
        }
    }

    /// Two lines that are alike but for a part of them, so that there are references of every length and distance.
    #[test]
    fn every_length_and_distance_comes_back() {
        for length in 0..=800 {
            let text = [b"x".repeat(length), b"\n".to_vec(), b"x".repeat(length), b"y\n".to_vec()].concat();
            round_trips(vec![text]).unwrap();
        }
        for distance in (4..34_000).step_by(251).chain(32_760..32_775) {
            let (filler, alike) = (b"-".repeat(distance - 1), b"alike".repeat(3));
            let text = [&alike[..], &filler[alike.len().min(filler.len())..], b"\n", &alike].concat();
            round_trips(vec![text]).unwrap();
        }
    }

    #[test]
    fn nothing_is_an_empty_member() {
        let compressed: Vec<u8> = Gzip::new(std::iter::empty()).flatten().collect();
        assert_eq!((decoded(&compressed), compressed.len()), (Vec::new(), 20 + 167));
    }
}
