//! What a lane is to discover: by command, by target, or every command of the account and Region.

use std::collections::HashMap;
use std::time::Duration;

use super::lane::Lane;
use crate::config::{self, DiscoverBy};
use crate::execution::{CommandArn, Failure};
use crate::listing::Lookout;
use crate::source::{ListBy, Page, Source};

/// How long `ListCommands` is left alone after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

/// The discoveries of one account and Region.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    /// Commands and targets, with how long their executions stay after their end.
    named: HashMap<ListBy, (Lookout, Duration)>,
    every_command: Option<EveryCommand>,
}

/// Discovery of every command: they are listed as often as their executions.
#[derive(Debug)]
struct EveryCommand {
    lookout: Lookout,
    retain: Duration,
    due: Duration,
    calling: bool,
    next_token: Option<String>,
    /// Of the pass under way.
    listing: Vec<CommandArn>,
    /// Of the last whole pass.
    commands: Vec<CommandArn>,
    tried: bool,
}

impl Discovery {
    /// Takes over the discoveries of a plan.
    pub(super) fn configure(&mut self, discoveries: Vec<config::Discovery>) {
        self.named.clear();
        let before = self.every_command.take();
        for config::Discovery { by, interval, lookback, retain } in discoveries {
            let lookout = Lookout { interval, lookback };
            match by {
                DiscoverBy::Command(arn) => drop(self.named.insert(ListBy::Command(arn), (lookout, retain))),
                DiscoverBy::Target(arn) => drop(self.named.insert(ListBy::Target(arn), (lookout, retain))),
                DiscoverBy::Scope(_) => {
                    self.every_command = Some(EveryCommand {
                        lookout,
                        retain,
                        due: Duration::ZERO,
                        calling: before.as_ref().is_some_and(|before| before.calling),
                        next_token: None,
                        listing: Vec::new(),
                        commands: before.as_ref().map(|before| before.commands.clone()).unwrap_or_default(),
                        tried: false,
                    });
                }
            }
        }
    }

    /// All that is to be listed.
    pub(super) fn lookouts(&self) -> Vec<(ListBy, Lookout)> {
        let named = self.named.iter().map(|(by, (lookout, _))| (by.clone(), *lookout));
        let every = self.every_command.iter().flat_map(|every| {
            let commands = every.commands.iter().map(|arn| ListBy::Command(arn.clone()));
            commands.filter(|by| !self.named.contains_key(by)).map(|by| (by, every.lookout))
        });
        named.chain(every).collect()
    }

    /// How long an execution found by this listing stays after its end; `None` if nobody wants it found.
    pub(super) fn retain(&self, by: &ListBy) -> Option<Duration> {
        if let Some((_, retain)) = self.named.get(by) {
            return Some(*retain);
        }
        let every = self.every_command.as_ref()?;
        matches!(by, ListBy::Command(arn) if every.commands.contains(arn)).then_some(every.retain)
    }

    /// How many first passes over the commands are still to be made.
    pub(super) fn unfinished(&self) -> usize {
        usize::from(self.every_command.as_ref().is_some_and(|every| !every.tried))
    }

    /// The page of `ListCommands` to ask for now, or when there will be one.
    pub(super) fn next(&mut self, now: Duration) -> Result<Option<String>, Option<Duration>> {
        let Some(every) = self.every_command.as_mut().filter(|every| !every.calling) else { return Err(None) };
        if every.next_token.is_none() && every.due > now {
            return Err(Some(every.due));
        }
        every.calling = true;
        Ok(every.next_token.clone())
    }

    /// Takes in a page of commands; answers whether it was the last.
    fn page(&mut self, page: Page<CommandArn>, now: Duration) -> bool {
        let Some(every) = self.every_command.as_mut() else { return false };
        every.calling = false;
        every.listing.extend(page.items);
        every.next_token = page.next_token;
        if every.next_token.is_some() {
            return false;
        }
        every.commands = std::mem::take(&mut every.listing);
        every.due = now + every.lookout.interval;
        every.tried = true;
        true
    }

    fn failed(&mut self, now: Duration) {
        if let Some(every) = self.every_command.as_mut() {
            every.calling = false;
            every.listing.clear();
            every.next_token = None;
            every.due = now + every.lookout.interval.max(AFTER_FAILURE);
            every.tried = true;
        }
    }
}

impl<S: Source + 'static> Lane<S> {
    /// Takes in one page of `ListCommands`.
    pub(super) fn commands_listed(&mut self, outcome: Result<Page<CommandArn>, Failure>) {
        let now = self.now();
        match outcome {
            Ok(page) => {
                if self.discovery.page(page, now) {
                    self.listings.set_lookouts(self.discovery.lookouts());
                }
            }
            Err(failure) => {
                let (account_id, region) = (&*self.scope.account_id, &*self.scope.region);
                let (reason, error) = (failure.reason.label(), &failure.detail);
                tracing::warn!(account_id, region, reason, error, "commands could not be listed");
                self.discovery.failed(now);
            }
        }
    }
}
