//! `execution_files`: lists of executions in files of their own, read again when their content changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::{Config, ConfiguredExecution, MAX_EXECUTIONS_BYTES, read_text};

/// The execution files of a configuration. A file that turns bad keeps its last good content.
#[derive(Debug, Default)]
pub struct ExecutionFiles {
    files: BTreeMap<PathBuf, File>,
}

#[derive(Debug, Default)]
struct File {
    digest: [u8; 32],
    executions: Vec<ConfiguredExecution>,
    fault: Option<String>,
}

impl ExecutionFiles {
    /// Reads what the globs of `config` match now; relative ones start at `base`, the directory of the configuration.
    /// Files whose content and meaning are as before are not parsed again. Faults are logged once, here.
    pub fn read(&mut self, config: &Config, base: &Path) {
        let mut known = std::mem::take(&mut self.files);
        for path in matches(config, base) {
            let before = known.remove(&path);
            let told = before.as_ref().and_then(|before| before.fault.clone());
            let after = read_file(config, &path, before.unwrap_or_default());
            if let Some(fault) = after.fault.as_ref().filter(|fault| told.as_ref() != Some(fault)) {
                let kept = after.executions.len();
                tracing::error!(error = %fault, kept, "an execution file could not be loaded; its last good content stays in force");
            }
            self.files.insert(path, after);
        }
    }

    /// The executions of all files, in the order of their paths.
    pub fn executions(&self) -> impl Iterator<Item = &ConfiguredExecution> {
        self.files.values().flat_map(|file| &file.executions)
    }

    /// How many files there are, and how many of them are bad.
    pub fn counts(&self) -> (usize, usize) {
        (self.files.len(), self.faults().count())
    }

    /// What is wrong, file by file.
    pub fn faults(&self) -> impl Iterator<Item = &str> {
        self.files.values().filter_map(|file| file.fault.as_deref())
    }
}

/// A digest of everything that the configuration's globs match, to see whether a change has come to rest.
pub fn digest(config: &Config, base: &Path) -> [u8; 32] {
    let mut all = Sha256::new();
    for path in matches(config, base) {
        all.update(path.as_os_str().as_encoded_bytes());
        // A file that cannot be read differs from every one that can.
        all.update(read_text(&path, MAX_EXECUTIONS_BYTES).map_or([0; 32], |text| Sha256::digest(text).into()));
    }
    all.finalize().into()
}

fn matches(config: &Config, base: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for pattern in &config.execution_files {
        let pattern = base.join(pattern);
        let Some(pattern) = pattern.to_str() else { continue };
        // The configuration has checked the pattern; what cannot be looked into matches nothing.
        paths.extend(glob::glob(pattern).into_iter().flatten().filter_map(Result::ok).filter(|path| path.is_file()));
    }
    paths.sort();
    paths.dedup();
    paths
}

fn read_file(config: &Config, path: &Path, before: File) -> File {
    let text = match read_text(path, MAX_EXECUTIONS_BYTES) {
        Ok(text) => text,
        Err(error) => return File { digest: [0; 32], fault: Some(error.to_string()), ..before },
    };
    // The declared labels are part of the meaning.
    let digest = Sha256::new().chain_update(&text).chain_update(config.metrics.labels.join("\n")).finalize().into();
    if before.digest == digest {
        return before;
    }
    match config.parse_executions(&path.to_string_lossy(), &text) {
        Ok(executions) => File { digest, executions, fault: None },
        Err(faults) => File { digest, fault: Some(faults.to_string()), ..before },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: PathBuf, ids: &[&str]) {
        let item = |id: &&str| {
            format!("- {{ target_arn: \"arn:aws:iot:eu-central-1:123456789012:thing/a\", execution_id: {id} }}\n")
        };
        std::fs::write(path, ids.iter().map(item).collect::<String>()).expect("a writable directory");
    }

    fn ids(files: &ExecutionFiles) -> Vec<&str> {
        files.executions().map(|execution| execution.key.id.as_str()).collect()
    }

    #[test]
    fn a_bad_file_keeps_its_last_good_content_and_the_others_go_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let base = directory.path();
        let config = Config { execution_files: vec!["*.yaml".into(), "a.*".into()], ..Config::default() };
        let mut files = ExecutionFiles::default();
        write(base.join("a.yaml"), &["one", "two"]);
        write(base.join("b.yaml"), &["three"]);
        files.read(&config, base);
        assert_eq!((ids(&files), files.counts()), (vec!["one", "two", "three"], (2, 0)), "each file once");

        let still = digest(&config, base);
        std::fs::write(base.join("a.yaml"), "executions: nonsense\n").expect("writable");
        write(base.join("b.yaml"), &["three", "four"]);
        assert_ne!(digest(&config, base), still);
        files.read(&config, base);
        assert_eq!((ids(&files), files.counts()), (vec!["one", "two", "three", "four"], (2, 1)));
        assert!(files.faults().next().is_some_and(|fault| fault.contains("a.yaml:1:1: ")));

        std::fs::remove_file(base.join("a.yaml")).expect("it is there");
        files.read(&config, base);
        assert_eq!(
            (ids(&files), files.counts()),
            (vec!["three", "four"], (1, 0)),
            "a file that is gone has no executions"
        );
    }
}
