//! A changed configuration, taken over by the running program: on SIGHUP, on `POST /-/reload`, and by itself.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::http;
use crate::page::Page;
use crate::program::{BOUND, Program, command, eventually};

/// The file is looked at every 10 s, and must look the same twice.
const TWO_LOOKS: Duration = Duration::from_secs(45);

/// What every series of the exporter's own begins with.
const OWN: &str = "aws_iot_command_exporter_";

/// A configuration with so many executions.
fn executions(count: usize) -> String {
    let item = |number| {
        format!("  - {{ target_arn: \"arn:aws:iot:eu-central-1:123456789012:thing/t{number}\", execution_id: e }}\n")
    };
    format!("poll: {{ timeout: 1s }}\nexecutions:\n{}", (0..count).map(item).collect::<String>())
}

/// The running program and its file.
struct Site {
    program: Program,
    address: SocketAddr,
    file: PathBuf,
    folder: TempDir,
}

impl Site {
    /// With one execution, `prepare` having written the file.
    fn start(flags: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("exporter.yaml");
        prepare(folder.path());
        let config = format!("--config.file={}", file.display());
        let arguments = ["run", &config, "--web.listen-address=127.0.0.1:0"].into_iter().chain(flags.iter().copied());
        let mut command = command(arguments);
        // Nobody is there: nothing of this depends on answers.
        command.env("AWS_ENDPOINT_URL_IOT", "http://127.0.0.1:1");
        let mut program = Program::start(command);
        let address = program.address();
        let mut site = Self { program, address, file, folder };
        site.wait_for(1, BOUND);
        site
    }

    fn page(&self) -> Page {
        Page::parse(&http::get(self.address, "/metrics").body)
    }

    fn own(&self, name: &str) -> f64 {
        let name = format!("{OWN}{name}");
        self.page().named(&name).map(|sample| sample.value).sum()
    }

    fn tracked(&self) -> f64 {
        self.own("tracked_executions")
    }

    fn successful(&self) -> bool {
        self.own("config_last_reload_successful") == 1.0
    }

    fn hash(&self) -> String {
        let page = self.page();
        let hashes: Vec<_> = page.named(&format!("{OWN}config_hash_info")).map(|s| s.labels["hash"].clone()).collect();
        assert_eq!(hashes.len(), 1, "{hashes:?}");
        hashes[0].clone()
    }

    fn write(&self, text: &str) {
        fs::write(&self.file, text).expect("a writable folder");
    }

    fn post(&self) -> http::Answer {
        http::send(self.address, "POST", "/-/reload", "").and_then(http::receive).expect("an answer")
    }

    /// Waits until so many executions are tracked.
    fn wait_for(&mut self, executions: usize, bound: Duration) {
        let done = eventually(bound, || (self.tracked() == executions as f64).then_some(()));
        assert!(done.is_some(), "not {executions} but {}; its log:\n{}", self.tracked(), self.program.log());
    }
}

fn one_execution(folder: &Path) {
    fs::write(folder.join("exporter.yaml"), executions(1)).expect("a writable folder");
}

#[test]
fn post_reload_applies_a_good_file_and_explains_a_bad_one() {
    let mut site = Site::start(&["--web.enable-lifecycle"], one_execution);
    let first = site.hash();
    assert_eq!(http::get(site.address, "/-/reload").status, 405);

    site.write(&executions(3));
    assert_eq!(site.post().status, 200);
    site.wait_for(3, BOUND);
    let second = site.hash();
    assert!(second != first && site.successful());

    site.write("poll:\n  intervall: 30s\n");
    let answer = site.post();
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("exporter.yaml:2:3") && answer.body.contains("intervall"), "{}", answer.body);
    assert_eq!((site.successful(), site.tracked(), site.hash()), (false, 3.0, second), "the old one stays in force");

    fs::remove_file(&site.file).expect("it is there");
    let answer = site.post();
    assert!(answer.status == 500 && answer.body.contains("exporter.yaml"), "{}", answer.body);

    site.write(&executions(1));
    assert_eq!(site.post().status, 200);
    site.wait_for(1, BOUND);
    assert_eq!((site.successful(), site.hash()), (true, first));
}

#[test]
fn without_the_flag_there_is_no_such_path_and_sighup_reloads() {
    let mut site = Site::start(&[], one_execution);
    assert_eq!(site.post().status, 404);
    site.write(&executions(2));
    site.program.signal("HUP");
    site.program.logged(&["configuration loaded", "executions=2"]);
    site.wait_for(2, BOUND);
    site.write("executions: [\n");
    site.program.signal("HUP");
    site.program.logged(&["the old one stays in force", "exporter.yaml:"]);
    assert_eq!((site.successful(), site.tracked()), (false, 2.0));
    site.program.signal("TERM");
    assert_eq!(site.program.wait(BOUND).code(), Some(0));
}

#[test]
fn a_file_that_changes_is_seen_without_being_asked() {
    // As Kubernetes mounts a ConfigMap: the file is a link through a link that is swapped.
    let data = |folder: &Path, name: &str, count: usize| {
        fs::create_dir(folder.join(name)).expect("a new folder");
        fs::write(folder.join(name).join("exporter.yaml"), executions(count)).expect("a writable folder");
        symlink(name, folder.join("..new")).expect("a new link");
        fs::rename(folder.join("..new"), folder.join("..data")).expect("one file system");
    };
    let mut swapped = Site::start(&[], |folder| {
        data(folder, "..1", 1);
        symlink("..data/exporter.yaml", folder.join("exporter.yaml")).expect("a new link");
    });
    let mut half_written = Site::start(&[], one_execution);
    let mut deleted = Site::start(&[], one_execution);

    data(swapped.folder.path(), "..2", 5);
    let whole = executions(4);
    half_written.write(&whole[..whole.len() - 20]);
    fs::remove_file(&deleted.file).expect("it is there");
    std::thread::sleep(Duration::from_millis(500));
    half_written.write(&whole);

    swapped.wait_for(5, TWO_LOOKS);
    half_written.wait_for(4, TWO_LOOKS);
    assert!(swapped.successful() && half_written.successful());
    let log = half_written.program.log();
    assert!(!log.contains("could not be loaded"), "half a file was taken for a whole one:\n{log}");

    let noticed = eventually(TWO_LOOKS, || (!deleted.successful()).then_some(()));
    assert!(noticed.is_some() && deleted.tracked() == 1.0, "{}", deleted.program.log());
    deleted.write(&executions(2));
    deleted.program.signal("HUP");
    deleted.wait_for(2, BOUND);
    assert!(deleted.successful());
}
