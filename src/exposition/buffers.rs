//! The memory of chunks, used again once their reader has let go of it: a fresh chunk costs page faults, which are
//! dearer than writing it.

use bytes::Bytes;

/// As many chunks as a server holds on to: the one that it sends, and the next.
const KEPT: usize = 2;

/// The chunks that were given out last.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    lent: Vec<Bytes>,
}

impl Buffers {
    /// An empty buffer of at least this capacity: that of a chunk which nobody else holds any more, or a new one.
    pub(super) fn take(&mut self, capacity: usize) -> Vec<u8> {
        for _ in 0..self.lent.len() {
            match self.lent.remove(0).try_into_mut() {
                Ok(mut free) => {
                    free.clear();
                    let mut free = Vec::from(free);
                    free.reserve(capacity);
                    return free;
                }
                Err(lent) => self.lent.push(lent),
            }
        }
        Vec::with_capacity(capacity)
    }

    /// Gives a chunk out.
    pub(super) fn lend(&mut self, chunk: Vec<u8>) -> Bytes {
        let chunk = Bytes::from(chunk);
        if self.lent.len() == KEPT {
            self.lent.remove(0);
        }
        self.lent.push(chunk.clone());
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_once_its_chunk_is_dropped_and_not_before() {
        let mut buffers = Buffers::default();
        let mut lend = |text: &[u8]| {
            let mut buffer = buffers.take(1_000);
            assert!(buffer.is_empty() && buffer.capacity() >= 1_000);
            let place = buffer.as_ptr();
            buffer.extend_from_slice(text);
            (place, buffers.lend(buffer))
        };
        let (first_place, first) = lend(b"first");
        let (second_place, second) = lend(b"second");
        assert_ne!(first_place, second_place);
        assert_eq!((&*first, &*second), (&b"first"[..], &b"second"[..]));
        drop(second);
        let (third_place, third) = lend(b"third");
        assert_eq!((third_place, &*first, &*third), (second_place, &b"first"[..], &b"third"[..]));
        let more: Vec<_> = (0..5).map(|_| lend(b"more")).collect();
        assert!(more.iter().all(|(_, chunk)| &**chunk == b"more"), "who keeps all chunks keeps them whole");
        assert_eq!((&*first, &*third), (&b"first"[..], &b"third"[..]));
    }
}
