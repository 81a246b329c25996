//! The service's answers as values of our own.

use aws_sdk_iot::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_iot::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_iot::error::BoxError;
use aws_sdk_iot::operation::get_command_execution::GetCommandExecutionOutput;
use aws_sdk_iot::operation::list_command_executions::ListCommandExecutionsOutput;
use aws_sdk_iot::operation::list_commands::ListCommandsOutput;
use aws_sdk_iot::primitives::DateTime;
use aws_sdk_iot::types::CommandExecutionStatus;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;

use crate::execution::{
    CommandArn, ExecutionId, ExecutionKey, Failure, FailureReason, Reason, Snapshot, Status, TargetArn, Timestamp,
};
use crate::source::{Page, Summary};

/// No answer of these operations comes near it: a page of 100 summaries has some 40 KiB.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Stops reading a response body past [`MAX_BODY_BYTES`].
#[derive(Debug)]
pub(super) struct CapBody;

impl Intercept for CapBody {
    fn name(&self) -> &'static str {
        "CapBody"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response_mut().body_mut();
        let whole = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Limited::new(whole, MAX_BODY_BYTES));
        Ok(())
    }
}

/// What `GetCommandExecution` has said. `result` and `parameters` are dropped here.
///
/// # Errors
/// An answer that names neither an execution nor a status nor a time of creation: an empty body counts as success
/// to the SDK.
pub(super) fn snapshot(output: GetCommandExecutionOutput) -> Result<Snapshot, Failure> {
    if output.status.is_none() && output.execution_id.is_none() && output.created_at.is_none() {
        return Err(Failure::new(FailureReason::Malformed, "the answer describes no execution"));
    }
    Ok(Snapshot {
        status: status(output.status.as_ref()),
        command: output.command_arn.as_deref().and_then(|arn| CommandArn::parse(arn).ok()),
        reason: output.status_reason.and_then(|reason| Reason::new(&reason.reason_code)),
        timeout_seconds: output.execution_timeout_seconds,
        created: timestamp(output.created_at),
        started: timestamp(output.started_at),
        last_updated: timestamp(output.last_updated_at),
        completed: timestamp(output.completed_at),
        expiration: timestamp(output.time_to_live),
    })
}

/// A page of summaries; one that does not name a pair is left out.
pub(super) fn summaries(output: ListCommandExecutionsOutput) -> Page<Summary> {
    let items = output.command_executions.unwrap_or_default();
    let items = items.into_iter().filter_map(|summary| {
        let target = TargetArn::parse(summary.target_arn.as_deref()?).ok()?;
        let id = ExecutionId::parse(summary.execution_id.as_deref()?).ok()?;
        Some(Summary {
            key: ExecutionKey { target, id },
            command: summary.command_arn.as_deref().and_then(|arn| CommandArn::parse(arn).ok()),
            status: status(summary.status.as_ref()),
            created: timestamp(summary.created_at),
            completed: timestamp(summary.completed_at),
        })
    });
    Page { items: items.collect(), next_token: output.next_token }
}

/// A page of commands.
pub(super) fn commands(output: ListCommandsOutput) -> Page<CommandArn> {
    let items = output.commands.unwrap_or_default();
    let items = items.into_iter().filter_map(|summary| CommandArn::parse(summary.command_arn.as_deref()?).ok());
    Page { items: items.collect(), next_token: output.next_token }
}

/// `after` of a time filter has the format `yyyy-MM-dd'T'HH:mm`, in UTC; seconds are cut, which lists more, not less.
pub(super) fn minute(since: Timestamp) -> String {
    let moment = jiff::Timestamp::from_millisecond(since.millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    moment.strftime("%Y-%m-%dT%H:%M").to_string()
}

fn status(status: Option<&CommandExecutionStatus>) -> Status {
    match status.map(CommandExecutionStatus::as_str) {
        None => Status::Unknown,
        Some(name) => Status::from_name(name),
    }
}

fn timestamp(time: Option<DateTime>) -> Option<Timestamp> {
    let time = time?;
    Timestamp::from_parts(time.secs(), time.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_has_the_format_of_the_api() {
        assert_eq!(minute(Timestamp::from_millis(1_732_000_059_999)), "2024-11-19T07:07");
        assert_eq!(minute(Timestamp::from_millis(i64::MAX)), "1970-01-01T00:00");
    }

    #[test]
    fn an_answer_that_says_nothing_is_malformed() {
        let empty = snapshot(GetCommandExecutionOutput::builder().build());
        assert_eq!(empty.map_err(|failure| failure.reason), Err(FailureReason::Malformed));
        let only_an_id = snapshot(GetCommandExecutionOutput::builder().execution_id("a").build());
        assert_eq!(only_an_id, Ok(Snapshot::with_status(Status::Unknown)));
    }
}
