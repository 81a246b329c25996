//! Imports point one way: each module stands on a step and imports from lower steps only, and each foreign crate
//! is named in one room.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules in steps, lowest first; a module imports from lower steps only. These are the five floors of `lib.rs`,
/// with steps of their own for the few that neighbours on their floor may name.
const STEPS: [&[&str]; 14] = [
    // Floor 1: nouns that need nobody.
    &["execution"],
    &["family", "clock"],
    &["text"],
    &["rate", "telemetry", "server", "shard", "simulator", "logging"],
    &["cli"],
    // Floor 2: decisions and state.
    &["config", "source"],
    &["plan", "store"],
    &["schedule", "iam"],
    &["listing"],
    // Floor 3: the edge.
    &["credentials"],
    &["iot", "discovery", "watch"],
    &["poller", "exposition", "page"],
    // Floors 4 and 5.
    &["app"],
    &["main"],
];

/// Foreign crates that only some rooms may name. A room is a module, or one file of it.
const ROOMS: [(&str, &[&str]); 7] = [
    ("aws_sdk_iot", &["iot", "credentials"]),
    ("aws_config", &["iot", "credentials"]),
    ("hyper", &["server", "simulator"]),
    ("serde_yaml", &["config/yaml.rs", "server/web_config.rs"]),
    ("prometheus", &["telemetry"]),
    ("clap", &["cli", "logging", "main"]),
    ("anyhow", &["main"]),
];

#[test]
fn imports_point_one_way() {
    let faults: Vec<String> = sources().iter().flat_map(upward).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    let faults: Vec<String> = sources().iter().flat_map(astray).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_module_of_the_crate_stands_on_a_step() {
    let placed: BTreeSet<&str> = STEPS.iter().flat_map(|step| step.iter().copied()).collect();
    let found: BTreeSet<String> = sources().iter().map(|source| source.module.clone()).collect();
    let homeless: Vec<&String> = found.iter().filter(|module| !placed.contains(module.as_str())).collect();
    assert!(homeless.is_empty(), "modules without a step in tests/it/layout.rs: {homeless:?}");
    assert!(found.len() >= 5, "the sources were not found: {found:?}");
}

#[test]
fn a_wrong_import_is_seen() {
    let source = |path: &str, text: &str| Source::new(path.into(), text);
    assert_eq!(upward(&source("store/mod.rs", "use crate::{execution::Status, poller::Poller};")).len(), 1);
    assert_eq!(upward(&source("server/mod.rs", "fn f() { crate::simulator::start() }")).len(), 1);
    assert_eq!(upward(&source("store/mod.rs", "use crate::execution::Status; use crate::store::Slot;")).len(), 0);
    assert_eq!(upward(&source("store/mod.rs", "// crate::poller asks this\n/// [`crate::app`]")).len(), 0);
    assert_eq!(astray(&source("store/mod.rs", "use prometheus::Counter;")).len(), 1);
    assert_eq!(astray(&source("store/mod.rs", "let prometheus_like = 1; use crate::telemetry::prometheus;")).len(), 0);
    assert_eq!(astray(&source("config/mod.rs", "serde_yaml::from_str(text)")).len(), 1);
    assert_eq!(astray(&source("config/yaml.rs", "serde_yaml::from_str(text)")).len(), 0);
}

/// One file under `src/`, its comments and the tests at its end taken out: a test may reach for what it needs.
struct Source {
    /// Relative to `src/`, with slashes.
    path: String,
    /// The top module it belongs to; `main` for `main.rs`.
    module: String,
    code: String,
}

impl Source {
    fn new(path: String, text: &str) -> Self {
        let top = path.split('/').next().unwrap_or_default();
        let module = top.trim_end_matches(".rs").to_owned();
        let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code = own.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
        Self { path, module, code }
    }

    /// Every top module that is named as `crate::NAME` or `crate::{NAME, …}`.
    fn imports(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for prefix in ["crate::", "aws_iot_command_exporter::"] {
            for (at, _) in self.code.match_indices(prefix) {
                let rest = &self.code[at + prefix.len()..];
                match rest.strip_prefix('{') {
                    Some(list) => found.extend(heads(list)),
                    None => found.extend(word(rest)),
                }
            }
        }
        found
    }
}

/// The first word of every item of a `use` list, up to its closing brace.
fn heads(list: &str) -> Vec<String> {
    let (mut depth, mut start, mut heads) = (0, 0, Vec::new());
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.extend(word(list[start..at].trim_start()));
                start = at + 1;
                if letter == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

/// The word at the front.
fn word(text: &str) -> Option<String> {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

fn step(module: &str) -> Option<usize> {
    STEPS.iter().position(|step| step.contains(&module))
}

/// Imports of this file that do not point down.
fn upward(source: &Source) -> Vec<String> {
    let Some(own) = step(&source.module) else { return Vec::new() };
    let points_down = |import: &String| *import == source.module || step(import).is_none_or(|other| other < own);
    let wrong = source.imports().into_iter().filter(|import| !points_down(import));
    wrong.map(|import| format!("src/{} imports crate::{import}, which is not below it", source.path)).collect()
}

/// Foreign crates that this file names and should not.
fn astray(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, rooms) in ROOMS {
        let welcome = rooms.iter().any(|room| source.path == *room || source.module == *room);
        if !welcome && names_crate(&source.code, name) {
            faults.push(format!("src/{} names {name}, which belongs in {rooms:?}", source.path));
        }
    }
    faults
}

/// Whether `NAME::` occurs at the start of a path.
fn names_crate(code: &str, name: &str) -> bool {
    let inside = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    code.match_indices(name).any(|(at, _)| !code[..at].ends_with(inside) && code[at + name.len()..].starts_with("::"))
}

/// Every file under `src/` but `lib.rs` and those that only tests compile: what `#[cfg(test)] mod NAME;` names.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let read = |file: &PathBuf| fs::read_to_string(file).expect("a readable source");
    let of_tests: BTreeSet<PathBuf> = files.iter().flat_map(|file| test_files(file, &read(file))).collect();
    let relative = |file: &PathBuf| {
        let path = file.strip_prefix(&root).expect("walked from there").to_string_lossy().replace('\\', "/");
        (path != "lib.rs" && !of_tests.contains(file)).then(|| Source::new(path, &read(file)))
    };
    files.iter().filter_map(relative).collect()
}

/// The files of a module's `#[cfg(test)] mod NAME;`, which stand in its folder.
fn test_files(file: &Path, text: &str) -> Vec<PathBuf> {
    let folder = if file.ends_with("mod.rs") { file.with_file_name("") } else { file.with_extension("") };
    let declared = text.split("#[cfg(test)]\nmod ").skip(1).filter_map(|rest| rest.split_once(';'));
    let named = declared.filter(|(name, _)| name.chars().all(|letter| letter.is_alphanumeric() || letter == '_'));
    named.map(|(name, _)| folder.join(format!("{name}.rs"))).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
