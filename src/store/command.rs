//! The commands that executions belong to: each one's text once, and what has been counted of it.

use std::sync::Arc;

use hashbrown::HashMap;

use super::change::End;
use crate::execution::{CommandArn, Status};
use crate::text;

/// Upper bounds of the buckets of the duration histogram, in milliseconds, with the value of the label `le`: from a
/// device that answers at once to AWS's default maximum of 12 h and FleetWise's 24 h.
pub const BOUNDS: [(i64, &str); 15] = [
    (1_000, "1.0"),
    (2_500, "2.5"),
    (5_000, "5.0"),
    (10_000, "10.0"),
    (30_000, "30.0"),
    (60_000, "60.0"),
    (120_000, "120.0"),
    (300_000, "300.0"),
    (600_000, "600.0"),
    (1_800_000, "1800.0"),
    (3_600_000, "3600.0"),
    (7_200_000, "7200.0"),
    (14_400_000, "14400.0"),
    (43_200_000, "43200.0"),
    (86_400_000, "86400.0"),
];

/// A command, and its ends so far, by status in the order of [`Status::ENDS`].
#[derive(Clone, Debug)]
pub struct Command {
    arn: CommandArn,
    labels: Box<str>,
    scope_len: usize,
    ends: [Ends; Status::ENDS.len()],
}

/// What has been counted of the ends in one status.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// Ends seen.
    pub count: u64,
    /// Service time-outs that were revised to this status.
    pub revised: u64,
    /// Of those whose duration is known: how many in each bucket (not cumulative), the last being without bound.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// The sum of their durations in milliseconds.
    pub sum_millis: i64,
}

impl Command {
    fn new(arn: CommandArn) -> Self {
        let scope = arn.scope();
        let mut labels = String::new();
        text::push_label(&mut labels, "account_id", &scope.account_id);
        text::push_label(&mut labels, "region", &scope.region);
        let scope_len = labels.len();
        text::push_label(&mut labels, "command", arn.id());
        Self { arn, labels: labels.into(), scope_len, ends: Default::default() }
    }

    /// The whole ARN.
    pub fn arn(&self) -> &CommandArn {
        &self.arn
    }

    /// `account_id="…",region="…",command="…"`, escaped.
    pub fn labels(&self) -> &str {
        &self.labels
    }

    /// `,command="…"`, escaped, to follow the labels of an execution.
    #[inline]
    pub fn label(&self) -> &str {
        &self.labels[self.scope_len..]
    }

    /// What has been counted, by end status.
    pub fn ends(&self) -> impl Iterator<Item = (Status, &Ends)> {
        Status::ENDS.into_iter().zip(&self.ends)
    }

    fn count(&mut self, end: End, duration_millis: Option<i64>) {
        let (End::First(status) | End::Revised(status)) = end;
        let Some(index) = Status::ENDS.iter().position(|known| *known == status) else { return };
        let ends = &mut self.ends[index];
        ends.count += 1;
        ends.revised += u64::from(matches!(end, End::Revised(_)));
        if let Some(millis) = duration_millis {
            ends.buckets[BOUNDS.partition_point(|(bound, _)| *bound < millis)] += 1;
            // A device's clock can put the end before the creation; the sum of a histogram only grows.
            ends.sum_millis = ends.sum_millis.saturating_add(millis.max(0));
        }
    }
}

/// The place of a command in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommandIndex(u32);

impl CommandIndex {
    /// The command of an execution of which none is known.
    pub(super) const NONE: Self = Self(u32::MAX);

    /// The place in the list; beyond its end for [`Self::NONE`].
    pub(super) const fn place(self) -> usize {
        self.0 as usize
    }
}

/// All commands by their place, as a scrape takes it along: cheap to clone, and only what changes meanwhile is copied.
pub(super) type CommandList = Vec<Option<Arc<Command>>>;

/// Finds the command of an execution in a list.
#[inline]
pub(super) fn get(list: &CommandList, index: CommandIndex) -> Option<&Command> {
    list.get(index.place())?.as_deref()
}

/// Every command met so far.
#[derive(Debug, Default)]
pub(super) struct CommandTable {
    list: CommandList,
    /// How many executions each belongs to.
    executions: Vec<u32>,
    /// By `Command::labels`: what tells its series from those of others.
    places: HashMap<Box<str>, CommandIndex>,
    vacant: Vec<CommandIndex>,
}

impl CommandTable {
    pub(super) fn list(&self) -> &CommandList {
        &self.list
    }

    pub(super) fn get(&self, index: CommandIndex) -> Option<&Command> {
        get(&self.list, index)
    }

    /// Moves an execution from the command `from` to the one with this ARN, which is made where it is new.
    pub(super) fn reassign(&mut self, from: CommandIndex, arn: &CommandArn) -> CommandIndex {
        if self.get(from).is_some_and(|command| command.arn == *arn) {
            return from;
        }
        self.release(from);
        let command = Command::new(arn.clone());
        let index = match self.places.get(&command.labels) {
            Some(index) => *index,
            None => self.insert(command),
        };
        self.executions[index.place()] += 1;
        index
    }

    /// Takes an execution off its command.
    pub(super) fn release(&mut self, index: CommandIndex) {
        if let Some(executions) = self.executions.get_mut(index.place()) {
            *executions = executions.saturating_sub(1);
        }
    }

    /// Counts an end. `duration_millis` is absent where the times to tell it are.
    pub(super) fn count(&mut self, index: CommandIndex, end: End, duration_millis: Option<i64>) {
        if let Some(Some(command)) = self.list.get_mut(index.place()) {
            Arc::make_mut(command).count(end, duration_millis);
        }
    }

    /// Forgets the commands that no execution belongs to, and what was counted of them.
    pub(super) fn forget_unused(&mut self) {
        for (place, command) in self.list.iter_mut().enumerate() {
            if self.executions[place] == 0
                && let Some(unused) = command.take()
                && let Some(index) = self.places.remove(&unused.labels)
            {
                self.vacant.push(index);
            }
        }
    }

    fn insert(&mut self, command: Command) -> CommandIndex {
        let index = self.vacant.pop().unwrap_or_else(|| {
            let place = u32::try_from(self.list.len()).expect("there are fewer commands than executions");
            self.list.push(None);
            self.executions.push(0);
            CommandIndex(place)
        });
        self.places.insert(command.labels.clone(), index);
        self.list[index.place()] = Some(Arc::new(command));
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arn(id: &str) -> CommandArn {
        CommandArn::parse(&format!("arn:aws:iot:eu-central-1:123456789012:command/{id}")).unwrap()
    }

    #[test]
    fn commands_are_made_once_and_forgotten_when_unused() {
        let mut table = CommandTable::default();
        let reboot = table.reassign(CommandIndex::NONE, &arn("reboot"));
        assert_eq!(table.reassign(CommandIndex::NONE, &arn("reboot")), reboot);
        let update = table.reassign(reboot, &arn("update"));
        table.forget_unused();
        assert!(table.get(reboot).is_some(), "one execution has left it, one has not");
        table.release(reboot);
        table.forget_unused();
        assert!(table.get(reboot).is_none() && table.get(update).is_some());
        assert_eq!(table.reassign(CommandIndex::NONE, &arn("wipe")), reboot, "places are used again");
        assert_eq!(table.get(update).unwrap().label(), ",command=\"update\"");
    }

    #[test]
    fn bounds_belong_to_their_bucket_and_labels_to_their_bounds() {
        let mut command = Command::new(arn("reboot"));
        for (millis, _) in BOUNDS {
            command.count(End::First(Status::Failed), Some(millis));
        }
        command.count(End::First(Status::Failed), Some(86_400_001));
        command.count(End::Revised(Status::Failed), Some(-1));
        command.count(End::First(Status::Failed), None);
        let ends = &command.ends[1];
        assert_eq!((ends.count, ends.revised, ends.buckets[0]), (18, 1, 2));
        assert!(ends.buckets[1..].iter().all(|count| *count == 1));
        for (millis, label) in BOUNDS {
            let mut bound = Vec::new();
            text::push_bound(&mut bound, millis as f64 / 1000.0);
            assert_eq!(bound, label.as_bytes());
        }
    }
}
