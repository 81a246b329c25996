//! A scrape compressed on its way out.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

/// zlib's level 1: a page of metrics is so repetitive that higher levels cost several times the CPU and save little.
pub const LEVEL: u32 = 1;

/// The compressed size at which a chunk is given out.
const CHUNK: usize = 16 << 10;

/// Chunks, compressed as they come into one gzip member. (Several members one after the other would be legal, but
/// curl and httpx read only the first.)
#[derive(Debug)]
pub struct Gzip<I> {
    chunks: I,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<I: Iterator<Item = Bytes>> Gzip<I> {
    /// The compressed form of all chunks.
    pub fn new(chunks: I) -> Self {
        Self { chunks, encoder: Some(GzEncoder::new(Vec::new(), Compression::new(LEVEL))) }
    }
}

impl<I: Iterator<Item = Bytes>> Iterator for Gzip<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        const INFALLIBLE: &str = "writing to memory cannot fail";
        let encoder = self.encoder.as_mut()?;
        for chunk in self.chunks.by_ref() {
            encoder.write_all(&chunk).expect(INFALLIBLE);
            if encoder.get_ref().len() >= CHUNK {
                return Some(std::mem::take(encoder.get_mut()).into());
            }
        }
        self.encoder.take().map(|encoder| encoder.finish().expect(INFALLIBLE).into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::bufread::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn decodes_as_one_member(chunks in proptest::collection::vec((any::<u64>(), 0..100_000_usize), 0..6)) {
            let chunks = chunks.into_iter().map(|(seed, len)| noise(seed, len));
            let whole: Vec<u8> = chunks.clone().flatten().collect();
            let compressed: Vec<u8> = Gzip::new(chunks).flatten().collect();
            let mut rest = compressed.as_slice();
            let mut decoded = Vec::new();
            GzDecoder::new(&mut rest).read_to_end(&mut decoded).unwrap();
            prop_assert!(decoded == whole);
            prop_assert!(rest.is_empty(), "nothing follows the first member");
        }
    }

    /// Bytes of which every second eight compress and the others do not.
    fn noise(seed: u64, len: usize) -> Bytes {
        let words = (0_u64..)
            .map(|at| (seed ^ at).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(at / 8 % 2));
        words.flat_map(u64::to_le_bytes).take(len).collect()
    }
}
