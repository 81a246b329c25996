//! Roles of other accounts, assumed through STS: one that works and one that is refused, side by side.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use aws_iot_command_exporter::simulator::{Fleet, FleetOptions, Options, Place, Simulator};
use tokio_util::sync::CancellationToken;

use crate::http;
use crate::page::Page;
use crate::program::{BOUND, Program, command, eventually};

const OPEN: &str = "111111111111";
const CLOSED: &str = "222222222222";

/// An STS that lets one role be assumed, and remembers the forms that it was sent.
struct Sts {
    address: SocketAddr,
    forms: Arc<Mutex<Vec<String>>>,
}

impl Sts {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let forms = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&forms);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // A client that goes away is the client's affair.
                let _ = answer(stream, &kept);
            }
        });
        Self { address, forms }
    }

    fn forms(&self) -> Vec<String> {
        self.forms.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn answer(mut stream: TcpStream, forms: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    let form = loop {
        let read = stream.read(&mut buffer)?;
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            break body.to_owned();
        }
    };
    let (status, body) = if form.contains(OPEN) {
        let credentials = "<AccessKeyId>ASIAOPEN</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
                           <SessionToken>token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>";
        let user = "<AssumedRoleUser><Arn>arn:aws:sts::111111111111:assumed-role/reader/s</Arn>\
                    <AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser>";
        let result = format!("<AssumeRoleResult><Credentials>{credentials}</Credentials>{user}</AssumeRoleResult>");
        (
            200,
            format!(
                "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">{result}</AssumeRoleResponse>"
            ),
        )
    } else {
        let error =
            "<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized to assume</Message></Error>";
        (403, format!("<ErrorResponse>{error}<RequestId>r</RequestId></ErrorResponse>"))
    };
    forms.lock().unwrap_or_else(PoisonError::into_inner).push(form);
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: text/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

#[test]
fn a_role_that_cannot_be_assumed_delays_no_other_account() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let places = [OPEN, CLOSED].map(|account| Place::new("aws", "eu-central-1", account)).into();
    let options = Options {
        fleet: FleetOptions { executions: 20, places, ..FleetOptions::default() },
        // Keys belong to their accounts; the program's own to none of the two.
        accounts: [("ASIAOPEN".to_owned(), OPEN.to_owned()), ("own".to_owned(), "333333333333".to_owned())].into(),
        ..Options::default()
    };
    let fleet = Fleet::new(&options.fleet, aws_iot_command_exporter::clock::now());
    let pairs: Vec<(String, String)> = fleet.pairs().map(|(target, id)| (target.to_owned(), id.to_owned())).collect();
    let simulator = runtime.block_on(Simulator::bind_fleet("127.0.0.1:0", fleet, &options)).expect("a free port");
    let (url, stop) = (simulator.url(), CancellationToken::new());
    runtime.spawn(simulator.run(stop.clone()));

    let sts = Sts::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("exporter.yaml");
    let items: String =
        pairs.iter().map(|(target, id)| format!("  - {{ target_arn: {target:?}, execution_id: {id} }}\n")).collect();
    let role = |account: &str| {
        format!(
            "  \"{account}\": {{ role_arn: \"arn:aws:iam::{account}:role/reader\", external_id: shibboleth, session_name: watch }}\n"
        )
    };
    let text = format!(
        "limits: {{ get_requests_per_second: 100 }}\naccounts:\n{}{}executions:\n{items}",
        role(OPEN),
        role(CLOSED)
    );
    std::fs::write(&file, text).expect("a writable folder");

    let mut command =
        command(["run", &format!("--config.file={}", file.display()), "--web.listen-address=127.0.0.1:0"]);
    command.env("AWS_ENDPOINT_URL_IOT", &url).env("AWS_ENDPOINT_URL_STS", format!("http://{}", sts.address));
    command.env("AWS_ACCESS_KEY_ID", "own").env("AWS_SECRET_ACCESS_KEY", "secret");
    let mut program = Program::start(command);
    let address = program.address();
    let of = |account: &'static str| pairs.iter().filter(move |(target, _)| target.contains(account)).count();
    assert!(of(OPEN) > 0 && of(CLOSED) > 0, "the fleet lives in both accounts");

    let seen = eventually(BOUND, || {
        let page = Page::parse(&http::get(address, "/metrics").body);
        let sum = |account: &str, name: &str, labels: &[(&str, &str)]| -> f64 {
            let samples = page.named(name).filter(|s| s.labels["account_id"] == account);
            samples.filter(|s| labels.iter().all(|(name, value)| s.labels[*name] == *value)).map(|s| s.value).sum()
        };
        let polled = sum(OPEN, "aws_iot_command_execution_poll_success", &[]);
        let refused = sum(CLOSED, "aws_iot_command_execution_poll_failure", &[("reason", "credentials")]);
        let valid = [OPEN, CLOSED].map(|account| sum(account, "aws_iot_command_exporter_credentials_valid", &[]));
        let done = polled == of(OPEN) as f64 && refused == of(CLOSED) as f64;
        done.then_some(valid)
    });
    assert_eq!(seen, Some([1.0, 0.0]), "{}", program.log());

    let forms = sts.forms();
    let asked = forms.iter().find(|form| form.contains(OPEN)).expect("the role was assumed");
    for part in ["Action=AssumeRole", "ExternalId=shibboleth", "RoleSessionName=watch"] {
        assert!(asked.contains(part), "{part} in {asked}");
    }
    assert!(!program.log().contains("shibboleth"));
    stop.cancel();
}
