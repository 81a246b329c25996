//! The least that IAM has to allow for a configuration, after the service authorization reference of AWS IoT.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::config::{Config, DiscoverBy};
use crate::execution::{Scope, TargetArn};
use crate::plan::{Plan, scope_of};

/// More targets than this in one account and Region become `thing/*` and `client/*`: a policy may have 6,144
/// characters only.
const NAMED_TARGETS: usize = 10;

/// Whom a policy is for, when it is not for a role of `accounts`.
const AMBIENT: &str = "ambient credentials";

/// The resources of each action.
type Grants = BTreeMap<&'static str, BTreeSet<String>>;

/// The policy of the credentials that the program runs with. Where the configuration has `accounts`, one policy for
/// each role and one for the program's own credentials, by whom they are for.
pub fn policies(config: &Config, plan: &Plan) -> Value {
    let mut principals: BTreeMap<&str, Grants> = BTreeMap::from([(AMBIENT, Grants::new())]);
    for account in config.accounts.values() {
        principals.entry(AMBIENT).or_default().entry("sts:AssumeRole").or_default().insert(account.role_arn.clone());
    }
    for (scope, asked) in asked(plan) {
        let role = config.accounts.get(&*scope.account_id).map_or(AMBIENT, |account| &account.role_arn);
        asked.grant(&scope, principals.entry(role).or_default());
    }
    let policies: BTreeMap<&str, Value> = principals.iter().map(|(who, grants)| (*who, policy(grants))).collect();
    if config.accounts.is_empty() { policies[AMBIENT].clone() } else { json!(policies) }
}

/// What is asked of one account and Region.
#[derive(Default)]
struct Asked<'a> {
    partition: Option<&'a str>,
    targets: BTreeSet<&'a TargetArn>,
    listed_targets: BTreeSet<&'a TargetArn>,
    finds_any_target: bool,
    every_command: bool,
}

fn asked(plan: &Plan) -> BTreeMap<Scope, Asked<'_>> {
    let mut scopes: BTreeMap<Scope, Asked<'_>> = BTreeMap::new();
    for execution in &plan.executions {
        let target = &execution.key.target;
        let asked = scopes.entry(target.scope()).or_default();
        asked.partition = Some(target.partition());
        asked.targets.insert(target);
    }
    for discovery in &plan.discoveries {
        let asked = scopes.entry(scope_of(&discovery.by)).or_default();
        match &discovery.by {
            DiscoverBy::Target(target) => {
                asked.partition = Some(target.partition());
                asked.targets.insert(target);
                asked.listed_targets.insert(target);
            }
            DiscoverBy::Command(command) => {
                asked.partition = Some(command.partition());
                asked.finds_any_target = true;
            }
            DiscoverBy::Scope(_) => {
                asked.finds_any_target = true;
                asked.every_command = true;
            }
        }
    }
    scopes
}

impl Asked<'_> {
    fn grant(&self, scope: &Scope, grants: &mut Grants) {
        let partition = self.partition.unwrap_or_else(|| partition_of(&scope.region));
        let arn = |resource: &str| format!("arn:{partition}:iot:{}:{}:{resource}", scope.region, scope.account_id);
        let get = grants.entry("iot:GetCommandExecution").or_default();
        get.insert(arn("command/*"));
        if self.finds_any_target {
            get.extend([arn("thing/*"), arn("client/*")]);
        } else if self.targets.len() > NAMED_TARGETS {
            let kinds = self.targets.iter().filter_map(|target| target.resource().split('/').next());
            get.extend(kinds.map(|kind| arn(&format!("{kind}/*"))));
        } else {
            get.extend(self.targets.iter().map(|target| escaped(target.as_str())));
        }
        // By command also without a discovery: that is how many open executions are seen with few calls.
        let list = grants.entry("iot:ListCommandExecutions").or_default();
        list.insert(arn("command/*"));
        list.extend(self.listed_targets.iter().map(|target| escaped(target.as_str())));
        if self.every_command {
            grants.entry("iot:ListCommands").or_default().insert("*".to_owned());
        }
    }
}

fn partition_of(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// A name in a policy's resource: `*`, `?` and `$` mean something there, and have escapes of their own.
fn escaped(arn: &str) -> String {
    arn.chars().fold(String::with_capacity(arn.len()), |mut text, character| {
        match character {
            '*' | '?' | '$' => text.extend(["${", character.encode_utf8(&mut [0; 4]), "}"]),
            other => text.push(other),
        }
        text
    })
}

fn policy(grants: &Grants) -> Value {
    let statements = grants.iter().map(|(action, resources)| {
        let sid: String = action.split(':').next_back().unwrap_or_default().to_owned();
        json!({ "Sid": sid, "Effect": "Allow", "Action": action, "Resource": resources })
    });
    json!({ "Version": "2012-10-17", "Statement": statements.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::Shard;

    fn printed(yaml: &str) -> Value {
        let config = Config::parse("test.yaml", yaml).expect("a good configuration");
        policies(&config, &Plan::new(&config, std::iter::empty(), Shard::WHOLE))
    }

    fn resources<'a>(policy: &'a Value, action: &str) -> Vec<&'a str> {
        let statements = policy["Statement"].as_array().expect("statements");
        let statement = statements.iter().find(|statement| statement["Action"] == action);
        let list = statement.and_then(|statement| statement["Resource"].as_array());
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    #[test]
    fn a_few_targets_are_named_and_their_special_characters_escaped() {
        let policy = printed(
            "executions:\n  - { target_arn: 'arn:aws:iot:eu-central-1:123456789012:client/a*b$', execution_id: e }\n",
        );
        assert_eq!(
            resources(&policy, "iot:GetCommandExecution"),
            [
                "arn:aws:iot:eu-central-1:123456789012:client/a${*}b${$}",
                "arn:aws:iot:eu-central-1:123456789012:command/*"
            ]
        );
        assert_eq!(
            resources(&policy, "iot:ListCommandExecutions"),
            ["arn:aws:iot:eu-central-1:123456789012:command/*"]
        );
        assert!(resources(&policy, "iot:ListCommands").is_empty());
    }

    #[test]
    fn many_targets_are_named_by_their_kind() {
        let item = |number| {
            format!("  - {{ target_arn: 'arn:aws-cn:iot:cn-north-1:123456789012:thing/t{number}', execution_id: e }}\n")
        };
        let policy = printed(&format!("executions:\n{}", (0..11).map(item).collect::<String>()));
        assert_eq!(
            resources(&policy, "iot:GetCommandExecution"),
            ["arn:aws-cn:iot:cn-north-1:123456789012:command/*", "arn:aws-cn:iot:cn-north-1:123456789012:thing/*"]
        );
    }

    #[test]
    fn each_role_gets_what_is_asked_in_its_account() {
        let all = printed(
            "accounts:\n  '123456789012': { role_arn: 'arn:aws:iam::123456789012:role/reader' }\n\
             discovery:\n  - { account_id: '123456789012', region: eu-central-1 }\n\
             executions:\n  - { target_arn: 'arn:aws:iot:us-east-1:210987654321:thing/t', execution_id: e }\n",
        );
        let role = &all["arn:aws:iam::123456789012:role/reader"];
        assert_eq!(resources(role, "iot:ListCommands"), ["*"]);
        assert_eq!(resources(&all[AMBIENT], "sts:AssumeRole"), ["arn:aws:iam::123456789012:role/reader"]);
        assert_eq!(
            resources(&all[AMBIENT], "iot:GetCommandExecution"),
            ["arn:aws:iot:us-east-1:210987654321:command/*", "arn:aws:iot:us-east-1:210987654321:thing/t"]
        );
    }
}
