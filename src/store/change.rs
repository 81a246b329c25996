//! What a new answer means beside the one before it: pure decisions.

use crate::execution::{Snapshot, Status, Timestamp};

/// An end of an execution that polling has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It ended in this status.
    First(Status),
    /// The service had timed it out; then the device reported this status after all.
    Revised(Status),
}

/// Whether `new` shows an earlier state than `known`: the service's answers may lag behind one another, and an older
/// one must not overwrite a newer one. Decided by the life of an execution, which only moves on (created, in
/// progress, timed out by the service, ended for good), and by the service's own `lastUpdatedAt`: no clock of this
/// machine has a say.
pub fn is_older(known: &Snapshot, new: &Snapshot) -> bool {
    if is_another(known, new) {
        return false;
    }
    match (stage(known), stage(new)) {
        (Some(before), Some(after)) if before == after => {
            known.last_updated.zip(new.last_updated).is_some_and(|(before, after)| after < before)
        }
        (Some(before), Some(after)) => after < before,
        _ => false,
    }
}

/// The end that `new` brings, if it is to be counted: one that happened under the eyes of this process, between two
/// answers; or, where there was no answer before, after the process `started`. So a restart counts no end again.
pub(super) fn end_seen(known: Option<&Snapshot>, new: &Snapshot, started: Timestamp) -> Option<End> {
    if !new.is_ended() {
        return None;
    }
    match known.filter(|known| !is_another(known, new)) {
        None => new.ended_at().is_some_and(|at| at >= started).then_some(End::First(new.status)),
        Some(known) if !known.is_ended() => Some(End::First(new.status)),
        Some(known) => (!known.is_terminal() && new.is_terminal()).then_some(End::Revised(new.status)),
    }
}

/// A pair can be used anew once the service has forgotten it; it is another execution then.
fn is_another(known: &Snapshot, new: &Snapshot) -> bool {
    known.created.zip(new.created).is_some_and(|(known, new)| known != new)
}

/// How far an execution has come; `None` for a status that this program does not know.
fn stage(snapshot: &Snapshot) -> Option<u8> {
    match snapshot.status {
        Status::Unknown => None,
        Status::Created => Some(0),
        Status::InProgress => Some(1),
        Status::TimedOut if !snapshot.is_terminal() => Some(2),
        Status::Succeeded | Status::Failed | Status::Rejected | Status::TimedOut => Some(3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTED: Timestamp = Timestamp::from_millis(1_000);

    fn at(status: Status, completed: Option<i64>) -> Snapshot {
        Snapshot {
            created: Some(Timestamp::from_millis(500)),
            timeout_seconds: Some(1),
            completed: completed.map(Timestamp::from_millis),
            ..Snapshot::with_status(status)
        }
    }

    #[test]
    fn life_only_moves_on() {
        let order = [
            at(Status::Created, None),
            at(Status::InProgress, None),
            at(Status::TimedOut, None),
            at(Status::TimedOut, Some(900)),
        ];
        for (i, known) in order.iter().enumerate() {
            for (j, new) in order.iter().enumerate() {
                assert_eq!(is_older(known, new), j < i, "{known:?} {new:?}");
            }
            assert!(!is_older(known, &at(Status::Unknown, None)), "an unknown status may be anything");
            let reborn = Snapshot { created: Some(STARTED), ..at(Status::Created, None) };
            assert!(!is_older(known, &reborn), "another execution under the same pair");
        }
    }

    #[test]
    fn updates_within_a_stage_are_told_by_last_updated() {
        let updated =
            |millis| Snapshot { last_updated: Some(Timestamp::from_millis(millis)), ..at(Status::InProgress, None) };
        assert!(is_older(&updated(2), &updated(1)));
        assert!(!is_older(&updated(2), &updated(2)) && !is_older(&updated(2), &at(Status::InProgress, None)));
    }

    #[test]
    fn ends_are_counted_once_and_never_the_past() {
        let open = at(Status::InProgress, None);
        for status in Status::ENDS {
            let done = at(status, Some(900));
            assert_eq!(end_seen(Some(&open), &done, STARTED), Some(End::First(status)), "seen to happen");
            assert_eq!(end_seen(None, &done, STARTED), None, "it happened before the start");
            assert_eq!(end_seen(None, &at(status, Some(1_000)), STARTED), Some(End::First(status)));
            assert_eq!(end_seen(Some(&done), &done, STARTED), None, "already counted");
        }
        for status in [Status::Created, Status::InProgress, Status::Unknown] {
            assert_eq!(end_seen(None, &at(status, None), STARTED), None);
        }
        let without_time = Snapshot { created: None, ..at(Status::Succeeded, None) };
        assert_eq!(end_seen(None, &without_time, STARTED), None, "when it ended is not known");
    }

    #[test]
    fn a_service_time_out_counts_and_a_late_report_revises_it() {
        let timed_out = at(Status::TimedOut, None);
        assert_eq!(end_seen(None, &timed_out, STARTED), Some(End::First(Status::TimedOut)), "its deadline is 1,500");
        assert_eq!(end_seen(Some(&timed_out), &timed_out, STARTED), None);
        for status in Status::ENDS {
            assert_eq!(end_seen(Some(&timed_out), &at(status, Some(900)), STARTED), Some(End::Revised(status)));
        }
    }

    #[test]
    fn another_execution_under_the_same_pair_starts_anew() {
        let reborn = Snapshot { created: Some(Timestamp::from_millis(2_000)), ..at(Status::Failed, Some(2_500)) };
        assert_eq!(end_seen(Some(&at(Status::Failed, Some(900))), &reborn, STARTED), Some(End::First(Status::Failed)));
    }
}
