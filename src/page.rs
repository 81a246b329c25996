//! The page for people at `/`: what is polled, what is most urgent, what fails.

use std::fmt::{self, Display, Write as _};

use crate::execution::{Scope, Timestamp};
use crate::store::{Execution, View};
use crate::telemetry::Build;

/// The page's Content-Security-Policy: nothing but its own style.
pub const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// How many executions each table shows.
const ROWS: usize = 25;

/// What the page shows.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Path of the metrics.
    pub telemetry_path: &'a str,
    /// Hash of the configuration in force.
    pub config_hash: &'a str,
    /// The state.
    pub view: View,
    /// How fast each account and Region may be asked.
    pub budgets: Vec<Budget>,
    /// The present moment.
    pub now: Timestamp,
}

/// How fast one operation of one account and Region may be called, in calls a second.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Budget {
    pub scope: Scope,
    pub operation: &'static str,
    pub configured: f64,
    pub current: f64,
}

/// The page.
pub fn render(facts: &Facts<'_>) -> String {
    let mut html = String::with_capacity(16 << 10);
    // Writing to a String does not fail.
    let _ = write_page(&mut html, facts);
    html
}

fn write_page(html: &mut String, facts: &Facts<'_>) -> fmt::Result {
    let Build { version, revision, .. } = Build::THIS;
    let path = Escaped(facts.telemetry_path);
    write!(
        html,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>AWS IoT command exporter</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\
         <h1>AWS IoT command exporter</h1>\
         <p>Version {version}, revision {revision}, configuration <code>{:.12}</code>.</p>\
         <p><a href=\"{path}\">Metrics</a> · <a href=\"/-/healthy\">Health</a> · <a href=\"/-/ready\">Readiness</a></p>",
        facts.config_hash
    )?;
    write_counts(html, facts)?;
    write_urgent(html, facts)?;
    write_failing(html, facts)?;
    html.push_str("</body></html>\n");
    Ok(())
}

fn write_counts(html: &mut String, facts: &Facts<'_>) -> fmt::Result {
    let tallies = facts.view.tallies();
    write!(
        html,
        "<h2>Executions</h2><table><tr><th>open<th>terminal<th>not found<th>not yet polled</tr>\
         <tr><td>{}<td>{}<td>{}<td>{}</tr></table>",
        tallies.open, tallies.terminal, tallies.not_found, tallies.unpolled
    )?;
    html.push_str("<h2>Calls</h2><table><tr><th>account<th>Region<th>operation<th>limit a second<th>in force</tr>");
    for Budget { scope, operation, configured, current } in &facts.budgets {
        let (account, region) = (&scope.account_id, &scope.region);
        write!(html, "<tr><td>{account}<td>{region}<td>{operation}<td>{configured:.2}<td>{current:.2}</tr>")?;
    }
    html.push_str("</table>");
    Ok(())
}

fn write_urgent(html: &mut String, facts: &Facts<'_>) -> fmt::Result {
    let mut open: Vec<(i64, Execution<'_>)> = facts
        .view
        .all()
        .filter_map(|execution| {
            let snapshot = execution.snapshot().filter(|snapshot| !snapshot.is_ended())?;
            Some((snapshot.timeout_margin_millis(facts.now)?, execution))
        })
        .collect();
    open.sort_by_key(|(margin, _)| *margin);
    write!(html, "<h2>Closest to their deadline</h2>")?;
    if open.is_empty() {
        html.push_str("<p>No open execution with a known deadline.</p>");
        return Ok(());
    }
    html.push_str(
        "<table><tr><th>margin<th>status<th>command<th>target<th>execution<th>account<th>Region<th>last seen</tr>",
    );
    for (margin, execution) in open.iter().take(ROWS) {
        let Some(snapshot) = execution.snapshot() else { continue };
        let class = if *margin < 0 { " class=\"late\"" } else { "" };
        let key = execution.key();
        let seen = execution.last_success().and_then(|seen| facts.now.checked_since(seen));
        write!(
            html,
            "<tr><td{class}>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{} ago</tr>",
            Seconds(*margin),
            snapshot.status.label(),
            Escaped(execution.command().map_or("", |command| command.arn().id())),
            Escaped(key.target.resource()),
            Escaped(key.id.as_str()),
            key.target.account_id(),
            key.target.region(),
            Seconds(seen.unwrap_or_default()),
        )?;
    }
    write!(html, "</table><p>{} open with a known deadline.</p>", open.len())
}

fn write_failing(html: &mut String, facts: &Facts<'_>) -> fmt::Result {
    let failing: Vec<_> = facts.view.all().filter_map(|execution| Some((execution.failure()?, execution))).collect();
    if failing.is_empty() {
        return Ok(());
    }
    html.push_str("<h2>Failing polls</h2><table><tr><th>reason<th>target<th>execution<th>account<th>Region</tr>");
    for (reason, execution) in failing.iter().take(ROWS) {
        let key = execution.key();
        write!(
            html,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            reason.label(),
            Escaped(key.target.resource()),
            Escaped(key.id.as_str()),
            key.target.account_id(),
            key.target.region(),
        )?;
    }
    write!(html, "</table><p>{} failing.</p>", failing.len())
}

/// Text for HTML, inside quotes too.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Milliseconds, as a person reads them.
struct Seconds(i64);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 <= -1000 { "-" } else { "" };
        let seconds = self.0.unsigned_abs() / 1000;
        match seconds {
            0..=119 => write!(f, "{sign}{seconds} s"),
            120..=7_199 => write!(f, "{sign}{} min", seconds / 60),
            7_200..=172_799 => write!(f, "{sign}{} h", seconds / 3_600),
            _ => write!(f, "{sign}{} d", seconds / 86_400),
        }
    }
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:84rem;padding:0 1rem;\
color:#1f2430;background:#fff}h1{font-size:1.6rem;margin-bottom:.3rem}p{margin:.4rem 0}h2{margin-top:2rem;font-size:1.15rem}\
a{color:#1a56c4}table{display:block;overflow-x:auto;border-collapse:collapse;margin:.5rem 0}\
th,td{text-align:left;white-space:nowrap;padding:.25rem 1.2rem .25rem 0;border-bottom:1px solid #d9dce3;\
font-variant-numeric:tabular-nums}th{color:#5b6270;font-weight:600}tr:hover td{background:#f6f7fa}\
.late{color:#b3261e;font-weight:600}code{background:#f1f3f7;padding:.1rem .3rem;border-radius:3px}\
@media(prefers-color-scheme:dark){body{color:#d8dbe2;background:#14161b}a{color:#8ab4f8}th{color:#9aa1ae}\
th,td{border-color:#2c303a}tr:hover td{background:#1c1f26}.late{color:#f28b82}code{background:#23262e}}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_times_are_readable() {
        assert_eq!(Escaped("<a href='x'>&\"").to_string(), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
        let shown: Vec<String> = [0, -999, -1_999, 119_000, 7_199_999, 86_400_000, i64::MIN]
            .map(|millis| Seconds(millis).to_string())
            .into();
        assert_eq!(shown, ["0 s", "0 s", "-1 s", "119 s", "119 min", "24 h", "-106751991167 d"]);
    }
}
