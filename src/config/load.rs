//! Configuration from a text or a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::fault::{Faults, LoadError};
use super::shape::Shape;
use super::tree::{At, Place};
use super::{Config, check, executions, raw, yaml};

/// The largest configuration that is read, in bytes.
pub const MAX_CONFIG_BYTES: u64 = 64 << 20;
/// The largest file of `execution_files` that is read, in bytes: room for more than a million pairs.
pub const MAX_EXECUTIONS_BYTES: u64 = 256 << 20;

impl Config {
    /// Reads and checks a configuration; `file_name` is what its faults call it. A text without any value is one with
    /// every default and nothing to poll: that is no fault (executions may be configured later and reloaded), but
    /// worth a warning, see [`Config::has_nothing_to_poll`].
    ///
    /// # Errors
    /// Every fault of the text, in its order. A text that is not YAML has one, where reading ended.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Faults> {
        let mut faults = Faults::new(file_name);
        let tree = match yaml::tree(text) {
            Ok(tree) => tree,
            Err(error) => {
                faults.text(error.place, error.rule);
                return faults.or(Self::default());
            }
        };
        let at = At::root(&tree);
        let shape = Shape::of(&raw::schema(), None).expect("a test reads every shape off the schema");
        let raw = if at.is_written() { executions::read(&shape, &at, &mut faults) } else { None };
        let config = check::config(raw.unwrap_or_default(), hash(text), &at, &mut faults);
        faults.or(config)
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`LoadError`]: it cannot be read, is larger than [`MAX_CONFIG_BYTES`], or has faults.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text = read_text(path, MAX_CONFIG_BYTES)?;
        Ok(Self::parse(&path.to_string_lossy(), &text)?)
    }

    /// Whether there are neither executions nor any place to find them.
    pub fn has_nothing_to_poll(&self) -> bool {
        self.executions.is_empty() && self.execution_files.is_empty() && self.discovery.is_empty()
    }
}

/// Reads a file of UTF-8 no larger than `limit` bytes; never more than that into memory.
///
/// # Errors
/// [`LoadError`]; bytes that are not UTF-8 are a fault with their place.
pub fn read_text(path: &Path, limit: u64) -> Result<String, LoadError> {
    let failed = |error: io::Error| LoadError::Read { path: path.to_owned(), error };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let too_large = || LoadError::TooLarge { path: path.to_owned(), limit };
    if size > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    // It may grow meanwhile, or be a device without a size.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(utf8(&path.to_string_lossy(), bytes)?)
}

/// Bytes as text.
pub(super) fn utf8(file_name: &str, bytes: Vec<u8>) -> Result<String, Faults> {
    String::from_utf8(bytes).or_else(|error| {
        let sound = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let lines = sound.split(|byte| *byte == b'\n');
        let last = String::from_utf8_lossy(sound.rsplit(|byte| *byte == b'\n').next().unwrap_or_default());
        let bounded = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let place = Place { line: bounded(lines.count()), column: bounded(last.chars().count() + 1) };
        let mut faults = Faults::new(file_name);
        faults.text(place, "the file must be UTF-8");
        faults.or(String::new())
    })
}

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
