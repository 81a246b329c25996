//! `discovery`: what to list.

use std::time::Duration;

use super::account::Partitions;
use super::check::{Firsts, duration_or, parsed, repeats};
use super::fault::Faults;
use super::tree::At;
use super::{DiscoverBy, Discovery, duration, raw};
use crate::execution::{ArnError, CommandArn, Scope, TargetArn};

/// How often.
pub(super) const INTERVAL: Duration = Duration::from_secs(30);
/// How far back.
pub(super) const LOOKBACK: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a finished execution stays.
pub(super) const RETAIN: Duration = Duration::from_secs(60 * 60);

const ONE_OF: &str = "must have exactly one of command_arn, target_arn, or account_id with region";

pub(super) fn check(
    raw: Vec<Option<raw::Discovery>>,
    at: &At<'_, '_>,
    partitions: &mut Partitions,
    faults: &mut Faults,
) -> Vec<Discovery> {
    let mut seen = Firsts::default();
    let mut checked = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        let at = at.index(index);
        let Some(mut raw) = raw else { continue };
        let by = by(&mut raw, &at, partitions, faults);
        let item = |by| times(raw, by, &at, faults);
        // Times are checked even where it is not known what to list.
        let Some(by) = by else {
            let _ = item(None);
            continue;
        };
        let item = item(Some(by.clone()));
        match seen.of(by, at.place) {
            Some(first) => faults.value(&at, format_args!("what it lists {}", repeats(first))),
            None => checked.extend(item),
        }
    }
    checked
}

fn by(
    raw: &mut raw::Discovery,
    at: &At<'_, '_>,
    partitions: &mut Partitions,
    faults: &mut Faults,
) -> Option<DiscoverBy> {
    let written = |key: &str| at.key(key).is_written();
    let (command, target) = (written("command_arn"), written("target_arn"));
    let (account, region) = (written("account_id"), written("region"));
    if usize::from(command) + usize::from(target) + usize::from(account || region) != 1 {
        faults.value(at, ONE_OF);
        return None;
    }
    if command {
        let at = at.key("command_arn");
        let command = parsed(raw.command_arn.take(), CommandArn::parse, &at, faults)?;
        partitions.check_command(&command, &at, faults);
        return Some(DiscoverBy::Command(command));
    }
    if target {
        let at = at.key("target_arn");
        let target = parsed(raw.target_arn.take(), TargetArn::parse, &at, faults)?;
        partitions.check_target(&target, &at, faults);
        return Some(DiscoverBy::Target(target));
    }
    for (here, key, other) in [(account, "account_id", "region"), (region, "region", "account_id")] {
        if !here {
            faults.key(&at.key(key), format_args!("this key is required with {other}"));
        }
    }
    let (account_id, region) = (raw.account_id.take()?, raw.region.take()?);
    match Scope::new(&account_id, &region) {
        Ok(scope) => {
            partitions.check_scope(&scope, &at.key("region"), faults);
            return Some(DiscoverBy::Scope(scope));
        }
        Err(ArnError::Account) => faults.value(&at.key("account_id"), ArnError::Account),
        Err(error) => {
            faults.value(&at.key("region"), error);
            // The Region is checked first and hides the account.
            if Scope::new(&account_id, "us-east-1").is_err() {
                faults.value(&at.key("account_id"), ArnError::Account);
            }
        }
    }
    None
}

fn times(raw: raw::Discovery, by: Option<DiscoverBy>, at: &At<'_, '_>, faults: &mut Faults) -> Option<Discovery> {
    let (interval_at, lookback_at) = (at.key("interval"), at.key("lookback"));
    let interval = duration_or(raw.interval, INTERVAL, &interval_at, faults);
    let lookback = duration_or(raw.lookback, LOOKBACK, &lookback_at, faults);
    let retain = duration_or(raw.retain, RETAIN, &at.key("retain"), faults);
    let (interval, lookback, retain) = (interval?, lookback?, retain?);
    if lookback < interval {
        // Named where it was written; what starts and ends in between would never be found.
        if lookback_at.is_written() {
            faults.value(
                &lookback_at,
                format_args!("must not be shorter than interval ({})", duration::format(interval)),
            );
        } else {
            faults
                .value(&interval_at, format_args!("must not be longer than lookback ({})", duration::format(lookback)));
        }
    }
    Some(Discovery { by: by?, interval, lookback, retain })
}
