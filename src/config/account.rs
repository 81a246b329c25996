//! `accounts`, and that everything about one account lies in one partition of AWS.

use std::collections::BTreeMap;

use super::check::{Accounts, parsed};
use super::fault::Faults;
use super::tree::{At, Place};
use super::{Account, raw};
use crate::execution::{CommandArn, Scope, TargetArn};

/// What CloudTrail shows where the configuration names no session.
pub(super) const SESSION_NAME: &str = "aws-iot-command-exporter";

pub(super) fn check(mut raw: BTreeMap<String, Option<raw::Account>>, at: &At<'_, '_>, faults: &mut Faults) -> Accounts {
    let mut accounts = Accounts::new();
    for entry in at.entries() {
        let at = at.entry(entry);
        // A repeated key finds nothing here.
        let Some((id, raw)) = raw.remove_entry(&*entry.key) else { continue };
        let well_formed = id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit());
        if !well_formed {
            faults.key(&at, "the account must be 12 digits");
        }
        let Some(account) = raw.and_then(|raw| account(raw, &at, faults)) else { continue };
        let owner = part(&account.role_arn, 4);
        if well_formed && owner != id {
            let rule = format_args!("the role must belong to the account {id}, or its credentials serve another");
            faults.value(&at.key("role_arn"), rule);
        }
        accounts.insert(id, account);
    }
    accounts
}

fn account(raw: raw::Account, at: &At<'_, '_>, faults: &mut Faults) -> Option<Account> {
    let external_id = raw.external_id;
    if let Some(external_id) = &external_id
        && !is_external_id(external_id)
    {
        let rule = "must be 2 to 1224 letters, digits or any of _+=,.@:/-";
        faults.hidden(&at.key("external_id"), rule);
    }
    let session_name = parsed(raw.session_name, session_name, &at.key("session_name"), faults);
    let role_arn = parsed(raw.role_arn, role_arn, &at.key("role_arn"), faults)?;
    Some(Account { role_arn, external_id, session_name: session_name.unwrap_or_else(|| SESSION_NAME.to_owned()) })
}

/// IAM's `[\w+=,.@:\/-]{2,1224}`.
fn is_external_id(text: &str) -> bool {
    let allowed = |b: u8| is_name_byte(b) || b == b':' || b == b'/';
    (2..=1224).contains(&text.len()) && text.bytes().all(allowed)
}

fn session_name(text: &str) -> Result<String, &'static str> {
    let ok = (2..=64).contains(&text.len()) && text.bytes().all(is_name_byte);
    if ok { Ok(text.to_owned()) } else { Err("must be 2 to 64 letters, digits or any of _+=,.@-") }
}

fn role_arn(text: &str) -> Result<String, &'static str> {
    let account = part(text, 4);
    let name = part(text, 5).strip_prefix("role/").unwrap_or_default();
    let partition = part(text, 1);
    let partition = partition.strip_prefix("aws").is_some_and(|rest| {
        rest.is_empty()
            || (rest.len() > 1 && rest.starts_with('-') && rest.bytes().all(|b| b == b'-' || b.is_ascii_lowercase()))
    });
    let ok = part(text, 0) == "arn"
        && partition
        && part(text, 2) == "iam"
        && part(text, 3).is_empty()
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && (1..=512).contains(&name.len())
        && name.bytes().all(|b| is_name_byte(b) || b == b'/');
    if ok { Ok(text.to_owned()) } else { Err("a role has the form arn:PARTITION:iam::ACCOUNT:role/NAME") }
}

/// IAM's `[\w+=,.@-]`.
fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b)
}

/// A part of an ARN; empty where it has too few. The last keeps its colons.
fn part(arn: &str, index: usize) -> &str {
    arn.splitn(6, ':').nth(index).unwrap_or_default()
}

/// Which partition each account is in. An account ID exists in one partition only, and so do its credentials.
pub(super) struct Partitions {
    known: BTreeMap<String, (String, Known)>,
}

#[derive(Clone, Copy)]
enum Known {
    FromRole,
    FromPlace(Place),
}

impl Partitions {
    pub(super) fn new(accounts: &Accounts) -> Self {
        let known = accounts.iter().map(|(id, account)| {
            let partition = part(&account.role_arn, 1).to_owned();
            (id.clone(), (partition, Known::FromRole))
        });
        Self { known: known.collect() }
    }

    pub(super) fn check_target(&mut self, target: &TargetArn, at: &At<'_, '_>, faults: &mut Faults) {
        self.check(target.account_id(), target.partition(), at, faults);
    }

    pub(super) fn check_command(&mut self, command: &CommandArn, at: &At<'_, '_>, faults: &mut Faults) {
        self.check(&command.scope().account_id, part(command.as_str(), 1), at, faults);
    }

    /// Where only the Region is known, it tells the three partitions with public Regions apart.
    pub(super) fn check_scope(&mut self, scope: &Scope, at: &At<'_, '_>, faults: &mut Faults) {
        let partition = match &*scope.region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            region if region.contains("-iso") || region.starts_with("eusc-") => return,
            _ => "aws",
        };
        self.check(&scope.account_id, partition, at, faults);
    }

    fn check(&mut self, account: &str, partition: &str, at: &At<'_, '_>, faults: &mut Faults) {
        match self.known.get(account) {
            None => {
                self.known.insert(account.to_owned(), (partition.to_owned(), Known::FromPlace(at.place)));
            }
            Some((known, _)) if known == partition => {}
            Some((known, from)) => {
                let from = match from {
                    Known::FromRole => "by its role".to_owned(),
                    Known::FromPlace(place) => format!("at line {}", place.line),
                };
                let rule =
                    format!("the account {account} is in the partition {known} {from}, so it cannot be in {partition}");
                faults.value(at, rule);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_have_paths_and_partitions() {
        for good in [
            "arn:aws:iam::123456789012:role/reader",
            "arn:aws-cn:iam::123456789012:role/team/a/reader",
            "arn:aws-us-gov:iam::123456789012:role/a+b=c,d.e@f-g_h",
        ] {
            assert!(role_arn(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "reader",
            "arn:aws:iam:eu-central-1:123456789012:role/reader",
            "arn:aws:sts::123456789012:assumed-role/reader/x",
            "arn:aws:iam::12345678901:role/reader",
            "arn:aws:iam::123456789012:user/reader",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a b",
            "arn:awsome:iam::123456789012:role/a",
            "arn:aws-:iam::123456789012:role/a",
        ] {
            assert!(role_arn(bad).is_err(), "{bad}");
        }
    }
}
