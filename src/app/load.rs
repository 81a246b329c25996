//! A configuration file with its execution files, loaded for the first time and again.

use std::path::{Path, PathBuf};

use crate::config::{Config, LoadError};
use crate::plan::Plan;
use crate::shard::Shard;
use crate::watch::{self, ExecutionFiles};

/// Loads one configuration file and whatever execution files it names.
#[derive(Debug)]
pub(super) struct Loader {
    file: PathBuf,
    shard: Shard,
    files: ExecutionFiles,
}

/// All content by its hash, or the message of what prevented reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found(String);

impl Loader {
    pub(super) fn new(file: &Path, shard: Shard) -> Self {
        Self { file: file.to_owned(), shard, files: ExecutionFiles::default() }
    }

    /// What is there now. Reads files: for the blocking pool.
    pub(super) fn look(&self) -> (Found, Result<Config, LoadError>) {
        let loaded = Config::load(&self.file);
        let found = match &loaded {
            Ok(config) => {
                let files: String = watch::digest(config, self.base()).iter().map(|b| format!("{b:02x}")).collect();
                format!("{} {files}", config.hash)
            }
            Err(error) => error.to_string(),
        };
        (Found(found), loaded)
    }

    /// The plan of a configuration, with its execution files as they are now. Reads files: for the blocking pool.
    pub(super) fn plan(&mut self, config: &Config) -> Plan {
        self.files.read(config, self.file.parent().unwrap_or(Path::new("")));
        Plan::new(config, self.files.executions(), self.shard)
    }

    /// How many execution files there are, and how many of them are bad.
    pub(super) fn file_counts(&self) -> (usize, usize) {
        self.files.counts()
    }

    fn base(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}

/// Every fault of a configuration file and of its execution files, a line each; none if all is well. Answers how many
/// executions it names, too.
///
/// # Errors
/// What is wrong.
pub fn check(file: &Path) -> Result<usize, String> {
    let config = Config::load(file).map_err(|error| error.to_string())?;
    let mut files = ExecutionFiles::default();
    files.read(&config, file.parent().unwrap_or(Path::new("")));
    let faults: Vec<&str> = files.faults().collect();
    if faults.is_empty() { Ok(config.executions.len() + files.executions().count()) } else { Err(faults.join("\n")) }
}
