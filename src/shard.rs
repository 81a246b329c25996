//! Which of several exporters polls an execution.

use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::execution::ExecutionKey;

/// One of `count` exporters that share the executions: `INDEX/COUNT`, the index from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

/// Why a text is not a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// Not two numbers.
    #[error("must be INDEX/COUNT, such as 0/3")]
    Form,
    /// No such shard.
    #[error("the index counts from 0 and must be below the count")]
    Range,
}

impl Shard {
    /// The only one.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// How many exporters share the executions, and the budget of calls.
    pub fn count(self) -> u32 {
        self.count
    }

    /// Whether this exporter polls the execution. Stable across releases and platforms; growing the count from n to
    /// m moves no execution between the first n.
    pub fn holds(self, key: &ExecutionKey) -> bool {
        self.count == 1 || jump(hash(key), self.count) == self.index
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let (index, count) = text.split_once('/').ok_or(ShardError::Form)?;
        // A StatefulSet's pod is named NAME-INDEX, and its name serves as it is.
        let index = index.rsplit('-').next().unwrap_or(index);
        let index = index.parse().map_err(|_| ShardError::Form)?;
        let count = count.parse().map_err(|_| ShardError::Form)?;
        if index < count { Ok(Self { index, count }) } else { Err(ShardError::Range) }
    }
}

fn hash(key: &ExecutionKey) -> u64 {
    let mut digest = Sha256::new();
    digest.update(key.target.as_str());
    digest.update([0]);
    digest.update(key.id.as_str());
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(digest.finalize());
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Jump consistent hash (Lamping and Veach, 2014): the bucket of `key` among `count`.
fn jump(mut key: u64, count: u32) -> u32 {
    let (mut bucket, mut next) = (0_u32, 0_f64);
    while next < f64::from(count) {
        bucket = next as u32;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = (f64::from(bucket) + 1.0) * ((1_u64 << 31) as f64 / ((key >> 33) + 1) as f64);
    }
    bucket
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::{ExecutionId, TargetArn};

    fn keys() -> impl Iterator<Item = ExecutionKey> {
        (0..5_000).map(|index| ExecutionKey {
            target: TargetArn::parse(&format!("arn:aws:iot:eu-central-1:123456789012:thing/pump-{}", index % 700))
                .expect("well-formed"),
            id: ExecutionId::parse(&format!("execution-{index}")).expect("well-formed"),
        })
    }

    fn owner(key: &ExecutionKey, count: u32) -> Vec<u32> {
        (0..count).filter(|index| Shard { index: *index, count }.holds(key)).collect()
    }

    #[test]
    fn every_execution_has_one_owner_and_growth_moves_the_fewest() {
        let mut moved = 0;
        let mut sizes = [0; 4];
        for key in keys() {
            let (before, after) = (owner(&key, 3), owner(&key, 4));
            assert_eq!((before.len(), after.len()), (1, 1));
            sizes[after[0] as usize] += 1;
            if before != after {
                assert_eq!(after, [3], "only the new one gains");
                moved += 1;
            }
        }
        assert!((1_100..1_400).contains(&moved), "a quarter moves: {moved}");
        assert!(sizes.iter().all(|size| (1_100..1_400).contains(size)), "{sizes:?}");
    }

    #[test]
    fn the_hash_is_the_same_in_every_release() {
        let owners: Vec<u32> = keys().take(8).flat_map(|key| owner(&key, 16)).collect();
        assert_eq!(owners, [10, 2, 0, 10, 6, 12, 3, 5]);
    }

    #[test]
    fn shards_are_written_as_index_and_count() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        assert_eq!("exporter-2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        for (text, error) in [
            ("", ShardError::Form),
            ("1", ShardError::Form),
            ("a/3", ShardError::Form),
            ("3/3", ShardError::Range),
            ("0/0", ShardError::Range),
        ] {
            assert_eq!(text.parse::<Shard>(), Err(error), "{text}");
        }
    }
}
