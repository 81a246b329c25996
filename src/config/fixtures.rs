//! Files against the program: the examples under `config/`, the faulty ones under `tests/fixtures/config/`, each
//! with the exact messages that it causes, and the JSON Schema against both.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::shape::Shape;
use super::tree::{Node, Value};
use super::*;

const EXAMPLE: &str = include_str!("../../config/exporter.yaml");
/// The first line of a fixture whose fault no schema can see.
const BEYOND_SCHEMA: &str = "# beyond the schema";

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn name(file: &Path) -> String {
    file.file_name().unwrap().to_string_lossy().into_owned()
}

/// Every fault of a file's bytes.
fn faults(name: &str, bytes: Vec<u8>) -> Option<Faults> {
    load::utf8(name, bytes).and_then(|text| Config::parse(name, &text)).err()
}

/// The tree as other tools see it.
fn as_json(node: &Node<'_>) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Boolean(value) => json!(value),
        Value::Integer(text) | Value::Float(text) => {
            text.parse::<i64>().map(Json::from).or_else(|_| text.parse::<f64>().map(Json::from)).unwrap_or(Json::Null)
        }
        Value::Text(text) => json!(text),
        Value::List(items) => items.iter().map(as_json).collect(),
        Value::Map(entries) => entries.iter().map(|entry| (entry.key.to_string(), as_json(&entry.node))).collect(),
    }
}

fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::new(&schema()).expect("the schema is a schema")
}

#[test]
fn every_example_is_sound_and_fits_the_schema() {
    let validator = validator();
    let examples = files("config", "yaml");
    assert!(examples.len() >= 3, "{examples:?}");
    for file in examples {
        let text = fs::read_to_string(&file).unwrap();
        let config = Config::parse(&name(&file), &text).unwrap_or_else(|faults| panic!("{faults}"));
        assert!(!config.has_nothing_to_poll(), "{}", file.display());
        let tree = yaml::tree(&text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&as_json(&tree)).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{}", file.display());
    }
}

#[test]
fn every_fixture_gives_exactly_its_messages() {
    let fixtures = files("tests/fixtures/config", "yaml");
    assert!(fixtures.len() >= 45, "{} fixtures", fixtures.len());
    for file in &fixtures {
        let expected = fs::read_to_string(file.with_extension("txt")).unwrap_or_default();
        let found = faults(&name(file), fs::read(file).unwrap());
        let found = found.unwrap_or_else(|| panic!("{} has no fault", file.display()));
        assert_eq!(format!("{found}\n"), expected, "{}", file.display());
        let one = name(file) != "many-faults.yaml";
        assert_eq!(found.count() == 1, one, "{} has {} faults", file.display(), found.count());
    }
    let without: Vec<_> = files("tests/fixtures/config", "txt");
    assert_eq!(without.len(), fixtures.len(), "a message without its file");
}

#[test]
fn the_schema_refuses_every_fixture_that_it_can() {
    let validator = validator();
    let mut beyond = 0;
    for file in files("tests/fixtures/config", "yaml") {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let Ok(tree) = yaml::tree(&text) else { continue };
        let sees = !validator.is_valid(&as_json(&tree));
        let marked = text.starts_with(BEYOND_SCHEMA);
        assert_ne!(sees, marked, "{}: the schema sees a fault: {sees}", file.display());
        beyond += usize::from(marked);
    }
    assert!(beyond >= 10, "{beyond}");
}

/// The defaults of the schema, as a configuration.
fn defaults_of(part: &Json, schema: &Json) -> Json {
    let part = match part["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        Some(name) => &schema["$defs"][name],
        None => part,
    };
    let mut object = serde_json::Map::new();
    for (key, property) in part["properties"].as_object().into_iter().flatten() {
        match &property["default"] {
            Json::Null => {
                let inner = property["anyOf"].as_array().map_or(property, |choices| &choices[0]);
                let inner = defaults_of(inner, schema);
                if inner.as_object().is_some_and(|inner| !inner.is_empty()) {
                    object.insert(key.clone(), inner);
                }
            }
            default => {
                object.insert(key.clone(), default.clone());
            }
        }
    }
    Json::Object(object)
}

#[test]
fn the_defaults_of_the_schema_are_the_programs() {
    let schema = schema();
    let written = defaults_of(&schema, &schema);
    assert_eq!(written["poll"].as_object().map(serde_json::Map::len), Some(3));
    assert_eq!(written["limits"].as_object().map(serde_json::Map::len), Some(4));
    assert_eq!(written["metrics"].as_object().map(serde_json::Map::len), Some(4));
    let mut read = Config::parse("defaults", &written.to_string()).unwrap();
    read.hash.clear();
    assert_eq!(read, Config::default());

    let mut item = defaults_of(&schema["$defs"]["Discovery"], &schema);
    item["command_arn"] = json!("arn:aws:iot:eu-central-1:123456789012:command/reboot");
    let bare = json!({"discovery": [{"command_arn": item["command_arn"]}]});
    let [written, bare] =
        [json!({"discovery": [item]}), bare].map(|json| Config::parse("", &json.to_string()).unwrap().discovery);
    assert_eq!(written, bare);

    let role = "arn:aws:iam::123456789012:role/reader";
    let mut account = defaults_of(&schema["$defs"]["Account"], &schema);
    account["role_arn"] = json!(role);
    let [written, bare] = [account, json!({"role_arn": role})]
        .map(|account| json!({"accounts": {"123456789012": account}}).to_string())
        .map(|text| Config::parse("", &text).unwrap().accounts);
    assert_eq!(written, bare);
}

#[test]
fn the_example_shows_every_key_with_its_default() {
    let config = Config::parse("exporter.yaml", EXAMPLE).unwrap();
    assert_eq!((config.poll, config.limits), (Poll::default(), Limits::default()));
    assert_eq!(config.metrics.per_execution, Metrics::default().per_execution);
    let times = |item: &Discovery| (item.interval, item.lookback, item.retain);
    assert_eq!(times(&config.discovery[0]), times(&config.discovery[1]), "the second has the defaults");
    assert_eq!(config.accounts["123456789012"].session_name, account::SESSION_NAME);

    let schema = schema();
    let mut keys = BTreeSet::new();
    for part in std::iter::once(&schema).chain(schema["$defs"].as_object().unwrap().values()) {
        keys.extend(part["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone()));
    }
    assert!(keys.len() > 25, "{keys:?}");
    for key in keys {
        let shown = EXAMPLE.lines().any(|line| line.trim_start_matches([' ', '-']).starts_with(&format!("{key}:")));
        assert!(shown, "{key} is not in the example");
    }
}

#[test]
fn every_shape_is_read_off_the_schema() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(Shape::of(&schema, None).is_some());
    for (name, part) in schema["$defs"].as_object().unwrap() {
        assert!(Shape::of(&schema, Some(name)).is_some(), "{name}");
        assert_eq!(part["additionalProperties"], false, "{name}");
        for (key, property) in part["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{name}.{key} has no description");
        }
    }
}

#[test]
fn an_empty_file_has_every_default_and_nothing_to_poll() {
    let written =
        "poll:\nlimits: ~\naccounts: {}\nexecutions:\n  # none yet\nexecution_files: []\nmetrics: {labels: null}\n";
    for text in ["", "# nothing\n", "{}", "---\n", "\u{feff}", written] {
        let mut config = Config::parse("empty.yaml", text).unwrap();
        assert!(config.has_nothing_to_poll());
        config.hash.clear();
        assert_eq!(config, Config::default(), "{text}");
        let tree = as_json(&yaml::tree(text).unwrap());
        assert!(tree.is_null() || validator().is_valid(&tree), "{text}");
    }
    let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Config::parse("", "").unwrap().hash, hash);
}

#[test]
fn what_is_written_is_what_is_meant() {
    let config = Config::parse("exporter.yaml", EXAMPLE).unwrap();
    assert_eq!(config.executions[0].interval, Some(Duration::from_secs(10)));
    assert_eq!(&*config.executions[0].labels, [Box::from("berlin")]);
    assert_eq!(&*config.executions[1].labels, [Box::from("")]);
    assert_eq!(config.executions[1].key.target.resource(), "client/gateway #4");
    assert_eq!(config.discovery[2].by, DiscoverBy::Scope(Scope::new("123456789012", "us-east-1").unwrap()));
    assert_eq!(config.accounts["123456789012"].external_id.as_deref(), Some("an-external-id"));
    assert_eq!(config.metrics.disabled, [Family::ExecutionStartedTimestampSeconds]);
    let unquoted = Config::parse("", &EXAMPLE.replace("\"123456789012\":", "123456789012:")).unwrap();
    assert_eq!(unquoted.accounts, config.accounts, "a key is text");
    let campaign = Config::parse("", include_str!("../../config/campaign.yaml")).unwrap();
    assert_eq!(campaign.executions[2].key.target.resource(), "client/press/newark/1");
    assert_eq!(campaign.executions[2].key.target.account_id(), "012345678901");
    assert_eq!(&*campaign.executions[2].labels, [Box::from("newark"), Box::from("canary")]);
}

#[test]
fn secrets_show_in_no_message_and_no_debug() {
    for bad in ["\"s3cr3t value\"", "[s3cr3t]", "{a: s3cr3t}", "\"s3cr3t\\n\""] {
        let text = EXAMPLE.replace("an-external-id", bad);
        let faults = Config::parse("", &text).unwrap_err().to_string();
        assert!(faults.contains("external_id: (hidden): ") && !faults.contains("s3cr3t"), "{faults}");
    }
    let config = Config::parse("", &EXAMPLE.replace("an-external-id", "s3cr3t")).unwrap();
    assert!(!format!("{config:?}").contains("s3cr3t"));
    assert_eq!(config.accounts["123456789012"].external_id.as_deref(), Some("s3cr3t"));
}

#[test]
fn lists_of_executions_read_as_yaml_and_as_json() {
    let config = Config::parse("", EXAMPLE).unwrap();
    let yaml = "- target_arn: arn:aws:iot:eu-central-1:123456789012:thing/a\n  execution_id: \"1\"\n  labels: {site: kiel}\n\
                - {target_arn: \"arn:aws:iot:eu-central-1:123456789012:thing/\u{1f600}\", execution_id: b, interval: 1m}\n";
    let json = r#"[{"target_arn": "arn:aws:iot:eu-central-1:123456789012:thing/a", "execution_id": "1", "labels": {"site": "kiel"}},
        {"target_arn": "arn:aws:iot:eu-central-1:123456789012:thing/\ud83d\ude00", "execution_id": "b", "interval": "1m"}]"#;
    let from_yaml = config.parse_executions("list.yaml", yaml).unwrap();
    assert_eq!(from_yaml.len(), 2);
    assert_eq!(from_yaml[0].labels[0].as_ref(), "kiel");
    assert_eq!(config.parse_executions("list.json", json).unwrap(), from_yaml);
    assert_eq!(config.parse_executions("empty.yaml", "# none\n"), Ok(Vec::new()));
}

#[test]
fn faults_of_lists_have_the_same_form() {
    let config = Config::parse("", EXAMPLE).unwrap();
    let text = "- target_arn: arn:aws:iot:eu-central-1:123456789012:thing/a\n  execution_id: b\n- 5\n\
                - target_arn: arn:aws-cn:iot:cn-north-1:123456789012:thing/a\n  execution_id: \"c d\"\n  labels: {sit: x}\n\
                - target_arn: arn:aws:iot:eu-central-1:123456789012:thing/a\n  execution_id: b\n- [\n";
    let faults = config.parse_executions("list.yaml", text).unwrap_err().to_string();
    let expected = "\
list.yaml:3:3: [1]: 5: must be a mapping with the keys execution_id, interval, labels, target_arn
list.yaml:4:15: [2].target_arn: \"arn:aws-cn:iot:cn-north-1:123456789012:thing/a\": the account 123456789012 is in the partition aws by its role, so it cannot be in aws-cn
list.yaml:5:17: [2].execution_id: \"c d\": an execution ID has 1 to 64 letters, digits, _ or -
list.yaml:6:12: [2].labels.sit: this label is not declared in metrics.labels, did you mean site?
list.yaml:8:17: [3].execution_id: \"b\": the pair of target_arn and execution_id is already at line 1, column 3
list.yaml:9:3: not YAML: unclosed bracket '['";
    assert_eq!(faults, expected);
    let faults = config.parse_executions("list.yaml", "executions: []").unwrap_err().to_string();
    assert_eq!(faults, "list.yaml:1:1: a mapping: must be a list of executions");
}

#[test]
fn files_are_read_with_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    let missing = Config::load(&file).unwrap_err();
    assert!(matches!(missing, LoadError::Read { .. }) && missing.to_string().starts_with(file.to_str().unwrap()));
    fs::write(&file, EXAMPLE).unwrap();
    assert_eq!(Config::load(&file).unwrap(), Config::parse("", EXAMPLE).unwrap());
    assert!(read_text(&file, EXAMPLE.len() as u64).is_ok());
    assert!(matches!(read_text(&file, EXAMPLE.len() as u64 - 1), Err(LoadError::TooLarge { .. })));
    assert!(matches!(Config::load(folder.path()), Err(LoadError::Read { .. })), "a folder");
    // A sparse file of 100 GB takes no time.
    fs::File::create(&file).unwrap().set_len(100 << 30).unwrap();
    assert!(matches!(Config::load(&file), Err(LoadError::TooLarge { .. })));
    assert!(matches!(read_text(Path::new("/dev/zero"), 1 << 20), Err(LoadError::TooLarge { .. })), "no size, no end");
}

/// Texts whose cost must not grow faster than they do. Bounded generously: what is quadratic takes minutes.
#[test]
#[expect(clippy::disallowed_methods, reason = "the real time that it takes is what is tested")]
fn hostile_texts_take_no_time() {
    let many = |count: usize, item: fn(usize) -> String| (0..count).map(item).collect::<String>();
    let accounts = format!("accounts:\n{}", many(20_000, |i| format!("  {i}: {{role_arn: x}}\n")));
    let labels = format!("executions:\n- labels:\n{}", many(20_000, |i| format!("   l{i}: x\n")));
    let unknown = many(20_000, |i| format!("{i}{}: x\n", "k".repeat(60)));
    let disabled = format!("metrics: {{disabled: [{}]}}", many(20_000, |i| format!("execution_{i}, ")));
    let same = "a: 1\n".repeat(20_000);
    for text in [accounts, labels, unknown, disabled, same] {
        let began = Instant::now();
        let faults = Config::parse("hostile", &text).unwrap_err();
        assert!(faults.count() > 0 && faults.iter().len() <= 1000);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}: {}", began.elapsed(), &text[..20]);
    }
}

/// Replaces, inserts or deletes, so that most of the file stays sound.
fn mutated() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(|c| c.to_string()),
        "[-:{}\\[\\]&*#?|>!%@`\"', \n\t0-9a-z]{0,6}",
        Just("\u{feff}".to_owned()),
        Just("\n---\n".to_owned()),
        Just("&a ".to_owned()),
        Just("*a".to_owned()),
    ];
    proptest::collection::vec((0..EXAMPLE.len(), 0_usize..40, piece), 1..6).prop_map(|edits| {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (from, length, piece) in edits {
            let from = from.min(text.len());
            let to = (from + length).min(text.len());
            text.splice(from..to, piece.chars());
        }
        text.into_iter().collect()
    })
}

/// Whatever the text: an answer, and faults that lie within it and stay on one line.
fn answers(text: &str) -> Result<(), TestCaseError> {
    let lines = text.split(['\n', '\r']).count();
    if let Err(faults) = Config::parse("any.yaml", text) {
        prop_assert!(faults.count() > 0);
        for fault in faults.iter() {
            prop_assert!(fault.line as usize <= lines + 1 && fault.line > 0 && fault.column > 0, "{}", fault);
            prop_assert!(!fault.to_string().contains(['\n', '\r']), "{}", fault);
        }
    }
    let _ = Config::default().parse_executions("any.yaml", text);
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_answered(text: String) {
        answers(&text)?;
    }

    #[test]
    fn any_tokens_are_answered(tokens in proptest::collection::vec("(poll|limits|accounts|executions|discovery|metrics|interval|labels|30s|1|~|- |: |\n|\n  |\\{|\\}|\\[|\\]|, |&a |\\*a|!!str |\"|'|# )", 0..40)) {
        answers(&tokens.concat())?;
    }

    #[test]
    fn any_damage_to_the_example_is_answered(text in mutated()) {
        answers(&text)?;
    }
}
