//! The program from outside, as its users meet it. One binary for all of it, because the SDK links slowly.

/// Roles of other accounts, assumed through STS.
mod accounts;
/// Flags, exit codes, standard output and signals.
mod cli;
/// Every reason for which a poll can fail, from whole answers and broken sockets, through the real SDK.
mod failures;
/// A simulated fleet, its record, and what must be said about it.
mod fleet;
/// A bare HTTP/1.1 client, so that the tests share no code with the server they ask.
mod http;
/// Which module may import which, read off the sources.
mod layout;
/// What `once` prints about a simulated fleet equals the simulator's own record of it.
mod once_equals_record;
/// The text format read back, strictly, by code that knows nothing of the exposition.
mod page;
/// The real binary as a child process that does not outlive its test.
mod program;
/// Debian's Prometheus scrapes the running binary and answers PromQL about it.
mod prometheus_e2e;
/// A changed configuration is taken over by the running program, and a bad one is not.
mod reload;
