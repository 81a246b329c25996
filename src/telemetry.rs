//! stub until the real one lands
#![allow(missing_docs)]
use crate::execution::{FailureReason, Scope};
use std::time::Duration;
#[derive(Clone, Copy)]
pub enum Operation {
    GetCommandExecution,
}
#[derive(Clone, Copy)]
pub enum DropCause {
    Limit,
}
pub struct Telemetry;
impl Telemetry {
    pub fn poll_started(&self, _: Duration) {}
    pub fn executions_dropped(&self, _: DropCause, _: usize) {}
    pub fn api_request(&self, _: &Scope, _: Operation, _: Option<FailureReason>, _: Duration) {}
}
