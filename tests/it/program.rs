//! Starts the real binary, learns where it listens, and ends it with the test.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::time::Instant;

/// How long anything may take that should take far less.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// The binary with these arguments, in an environment that holds no one's credentials but the simulator's.
pub(crate) fn command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aws-iot-command-exporter"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_ACCESS_KEY_ID", "AKIDSIMULATED")
        .env("AWS_SECRET_ACCESS_KEY", "simulated-secret")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// Runs the binary to its end, which it must reach within [`BOUND`].
pub(crate) fn finish<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    Program::start(command(arguments)).output()
}

/// A running child process.
pub(crate) struct Program {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    seen: Vec<String>,
}

impl Program {
    /// Starts it and reads what it writes, so that no full pipe ever stops it.
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap_or_else(|fault| panic!("{command:?}: {fault}"));
        let stdout = lines(child.stdout.take().expect("piped"));
        let stderr = lines(child.stderr.take().expect("piped"));
        Self { child, stdout, stderr, seen: Vec::new() }
    }

    /// The next line of standard output.
    pub(crate) fn line(&mut self) -> String {
        match self.stdout.recv_timeout(BOUND) {
            Ok(line) => line,
            Err(_) => panic!("no line on standard output; its log:\n{}", self.log()),
        }
    }

    /// Waits for a line of the log that all these texts are in.
    pub(crate) fn logged(&mut self, texts: &[&str]) -> String {
        let deadline = Instant::now() + BOUND;
        loop {
            let line = match self.stderr.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(why) => panic!("{texts:?} was never logged ({why}):\n{}", self.seen.join("\n")),
            };
            self.seen.push(line.clone());
            if texts.iter().all(|text| line.contains(text)) {
                return line;
            }
        }
    }

    /// Where it serves, by its log.
    pub(crate) fn address(&mut self) -> SocketAddr {
        let line = self.logged(&["listening", "address="]);
        let text = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
        text.trim_matches('"').parse().unwrap_or_else(|_| panic!("no address in {line}"))
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(kill.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, bound: Duration) -> ExitStatus {
        let ended = eventually(bound, || self.child.try_wait().expect("a child"));
        ended.unwrap_or_else(|| panic!("still running after {bound:?}; its log:\n{}", self.log()))
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for its end and takes all it has written.
    pub(crate) fn output(mut self) -> Output {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        drain(&self.stdout, &mut stdout);
        drain(&self.stderr, &mut stderr);
        let status = self.wait(BOUND);
        Output { status, stdout: stdout.into_bytes(), stderr: stderr.into_bytes() }
    }

    /// All it has logged until now.
    pub(crate) fn log(&mut self) -> String {
        self.seen.extend(self.stderr.try_iter());
        self.seen.join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails where it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is an answer, or `None` past the bound.
pub(crate) fn eventually<T>(bound: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + bound;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver): (Sender<String>, _) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn drain(from: &Receiver<String>, to: &mut String) {
    let deadline = Instant::now() + BOUND;
    loop {
        match from.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                to.push_str(&line);
                to.push('\n');
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => panic!("still writing after {BOUND:?}; so far:\n{to}"),
        }
    }
}
