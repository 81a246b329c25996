//! The program's log, on standard error: one line an event, as logfmt or JSON, with Prometheus's keys.

use std::fmt::{self, Debug, Write as _};

use clap::ValueEnum;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// `--log.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// `--log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogFormat {
    Logfmt,
    Json,
}

/// Begins to log. Panics become events too, so that they share the format.
pub fn start(level: LogLevel, format: LogFormat) {
    tracing_subscriber::registry().with(layer(level, format, std::io::stderr)).init();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("of unknown kind");
        tracing::error!(place, panic = message, "panic");
    }));
}

/// What is logged and how, onto any writer.
pub fn layer<S, W>(level: LogLevel, format: LogFormat, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    // Of the libraries only warnings, whatever the level: at DEBUG the SDK logs the access key ID, at TRACE the
    // results and parameters of executions.
    let targets =
        Targets::new().with_target(env!("CARGO_CRATE_NAME"), level).with_default(level.min(LevelFilter::WARN));
    tracing_subscriber::fmt::layer().with_writer(writer).event_format(Lines(format)).with_filter(targets)
}

struct Lines(LogFormat);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = jiff::Timestamp::from_millisecond(crate::clock::now().millis()).unwrap_or_default();
        let time = format!("{now:.3}");
        writeln!(writer, "{}", line(self.0, &time, *event.metadata().level(), &fields))
    }
}

/// What an event holds, as text.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }
}

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.rest.push((name, value)),
        }
    }
}

fn line(format: LogFormat, time: &str, level: Level, fields: &Fields) -> String {
    let level = level.as_str();
    let head = [("time", time), ("level", level), ("msg", fields.message.as_str())];
    let pairs = head.into_iter().chain(fields.rest.iter().map(|(name, value)| (*name, value.as_str())));
    match format {
        LogFormat::Json => {
            let object: serde_json::Map<String, serde_json::Value> =
                pairs.map(|(name, value)| (name.to_owned(), value.into())).collect();
            serde_json::Value::Object(object).to_string()
        }
        LogFormat::Logfmt => {
            let mut line = String::new();
            for (name, value) in pairs {
                let space = if line.is_empty() { "" } else { " " };
                let bare = !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'=');
                // Writing to a String does not fail.
                let _ =
                    if bare { write!(line, "{space}{name}={value}") } else { write!(line, "{space}{name}={value:?}") };
            }
            line
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        Fields {
            message: "polls begin to fail".into(),
            rest: vec![("reason", "timeout".into()), ("error", "a \"b\"\nc=d".into()), ("none", String::new())],
        }
    }

    #[test]
    fn logfmt_quotes_what_needs_it() {
        assert_eq!(
            line(LogFormat::Logfmt, "2026-01-02T03:04:05.678Z", Level::WARN, &fields()),
            r#"time=2026-01-02T03:04:05.678Z level=WARN msg="polls begin to fail" reason=timeout error="a \"b\"\nc=d" none="""#
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        let line = line(LogFormat::Json, "2026-01-02T03:04:05.678Z", Level::INFO, &fields());
        let object: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            (&object["msg"], &object["level"], &object["error"]),
            (&"polls begin to fail".into(), &"INFO".into(), &"a \"b\"\nc=d".into())
        );
        assert!(!line.contains('\n'));
    }
}
