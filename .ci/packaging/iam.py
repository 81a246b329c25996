"""Checks deploy/iam and deploy/terraform: AWS's own list of actions, the least that the program needs, who may take the
roles, and that Terraform makes the same. Every rule is also tried on broken copies.

Usage: python .ci/packaging/iam.py
"""

import copy
import json
import pathlib
import re
import sys

import hcl2
import parliament

IAM, TERRAFORM = pathlib.Path("deploy/iam"), pathlib.Path("deploy/terraform")
ACCOUNT, OTHER = "123456789012", "012345678901"
ISSUER = "oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE"
OIDC = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}"
EXECUTIONS = [f"arn:aws:iot:eu-central-1:{ACCOUNT}:{kind}/*" for kind in ("thing", "client", "command")]
PERMISSIONS = {
    "policy.json": {
        "iot:GetCommandExecution": EXECUTIONS,
        "iot:ListCommandExecutions": EXECUTIONS,
        "iot:ListCommands": "*",
    },
    "policy-other-accounts.json": {"sts:AssumeRole": f"arn:aws:iam::{OTHER}:role/command-reader"},
}
# Who may take the role, with which actions, under which conditions: all of it, so that nothing more is let in.
TRUST = {
    "trust-irsa.json": (
        {"Federated": OIDC},
        ["sts:AssumeRoleWithWebIdentity"],
        {
            "StringEquals": {
                f"{ISSUER}:aud": "sts.amazonaws.com",
                f"{ISSUER}:sub": "system:serviceaccount:monitoring:aws-iot-command-exporter",
            }
        },
    ),
    "trust-pod-identity.json": (
        {"Service": "pods.eks.amazonaws.com"},
        ["sts:AssumeRole", "sts:TagSession"],
        {
            "StringEquals": {
                "aws:RequestTag/eks-cluster-arn": f"arn:aws:eks:eu-central-1:{ACCOUNT}:cluster/CLUSTER",
                "aws:RequestTag/kubernetes-namespace": "monitoring",
                "aws:RequestTag/kubernetes-service-account": "aws-iot-command-exporter",
            }
        },
    ),
    "trust-other-account.json": (
        {"AWS": f"arn:aws:iam::{ACCOUNT}:role/aws-iot-command-exporter"},
        ["sts:AssumeRole"],
        {"StringEquals": {"sts:ExternalId": "plant-two/campaign"}},
    ),
}


def many(value):
    return value if isinstance(value, list) else [value]


def permission_faults(name, policy):
    for finding in parliament.analyze_policy_string(json.dumps(policy)).findings:
        yield f"parliament: {finding}"
    granted = {}
    for statement in policy["Statement"]:
        if set(statement) != {"Sid", "Effect", "Action", "Resource"} or statement["Effect"] != "Allow":
            yield f"not a plain Allow: {statement}"
        for action in many(statement["Action"]):
            granted[action] = statement["Resource"]
    if granted != PERMISSIONS[name]:
        yield f"grants {granted} in place of {PERMISSIONS[name]}"


def trust_faults(name, policy):
    """parliament knows nothing of trust policies."""
    principal, actions, conditions = TRUST[name]
    if set(policy) != {"Version", "Statement"} or policy["Version"] != "2012-10-17" or len(policy["Statement"]) != 1:
        yield "not one statement"
        return
    [statement] = policy["Statement"]
    if set(statement) != {"Sid", "Effect", "Principal", "Action", "Condition"} or statement["Effect"] != "Allow":
        yield f"not a plain Allow: {statement}"
        return
    if statement["Principal"] != principal:
        yield f"trusts {statement['Principal']}"
    if many(statement["Action"]) != actions:
        yield f"allows {statement['Action']}"
    if statement["Condition"] != conditions:
        yield f"under {statement['Condition']}"


def unquoted(value):
    """The parser's tree without the quotes that it leaves around texts."""
    if isinstance(value, dict):
        return {unquoted(key): unquoted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unquoted(item) for item in value]
    return value[1:-1] if isinstance(value, str) and value.startswith('"') else value


def substituted(value, variables):
    """Terraform's expressions that the policies use, with the variables of the examples in deploy/iam."""
    if isinstance(value, dict):
        return {key: substituted(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [substituted(item, variables) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith("${") and value.endswith("}") and value[2:-1] in variables:
        return variables[value[2:-1]]
    return re.sub(r"\$\{([^}]*)\}", lambda found: str(variables[found[1]]), value)


def terraform_policy(text, document):
    """An aws_iam_policy_document as JSON would have it."""
    variables = {
        "local.executions": EXECUTIONS,
        "local.partition": "aws",
        "local.home": "eu-central-1",
        "local.account": ACCOUNT,
        "local.issuer": ISSUER,
        "var.oidc_provider_arn": OIDC,
        "var.namespace": "monitoring",
        "var.service_account": "aws-iot-command-exporter",
        "var.cluster_name": "CLUSTER",
    }
    documents = [item["aws_iam_policy_document"] for item in unquoted(hcl2.loads(text))["data"] if "aws_iam_policy_document" in item]
    [block] = [item[document] for item in documents if document in item]
    statements = []
    for item in substituted(block["statement"], variables):
        statement = {"Sid": item["sid"], "Effect": item.get("effect", "Allow")}
        for principals in item.get("principals", []):
            [identifier] = principals["identifiers"]
            statement["Principal"] = {principals["type"]: identifier}
        for key, name in [("actions", "Action"), ("resources", "Resource")]:
            if key in item:
                statement[name] = item[key] if len(item[key]) > 1 else item[key][0]
        for condition in item.get("condition", []):
            [value] = condition["values"]
            statement.setdefault("Condition", {}).setdefault(condition["test"], {})[condition["variable"]] = value
        statements.append(statement)
    return {"Version": "2012-10-17", "Statement": statements}


def terraform_faults(text, policies):
    for document, name in {
        "read": "policy.json",
        "trust_irsa": "trust-irsa.json",
        "trust_pod_identity": "trust-pod-identity.json",
    }.items():
        made = terraform_policy(text, document)
        if made != policies[name]:
            yield f"{document} is {json.dumps(made)} in place of {name}"


def broken_permissions(policy):
    for name, change in {
        "an action that does not exist": lambda s: s[0].update(Action="iot:GetCommandExecutions"),
        "too much": lambda s: s[0].update(Resource="*"),
        "too little": lambda s: s[1]["Resource"].pop(),
        "a resource that ListCommands does not know": lambda s: s[2].update(Resource=s[0]["Resource"]),
        "a wildcard": lambda s: s[0].update(Action="iot:*"),
        "a denial": lambda s: s[0].update(Effect="Deny"),
        "one more action": lambda s: s.append({**s[2], "Sid": "More", "Action": "iot:ListThings"}),
    }.items():
        twin = copy.deepcopy(policy)
        change(twin["Statement"])
        yield name, twin


def broken_trust(policy):
    for name, change in {
        "anyone": lambda s: s[0].update(Principal="*"),
        "no condition": lambda s: s[0].pop("Condition"),
        "one condition less": lambda s: s[0]["Condition"]["StringEquals"].popitem(),
        "a looser condition": lambda s: s[0]["Condition"].update(StringLike=s[0]["Condition"].pop("StringEquals")),
        "another action": lambda s: s[0].update(Action="sts:*"),
        "one more statement": lambda s: s.append(dict(s[0])),
        "a denial": lambda s: s[0].update(Effect="Deny"),
    }.items():
        twin = copy.deepcopy(policy)
        change(twin["Statement"])
        yield name, twin


def main():
    policies = {file.name: json.loads(file.read_text()) for file in sorted(IAM.glob("*.json"))}
    found, tries = [], 0
    if set(policies) != set(PERMISSIONS) | set(TRUST):
        found.append(f"deploy/iam: {sorted(policies)}")
    for table, rule in [(PERMISSIONS, permission_faults), (TRUST, trust_faults)]:
        for name in table:
            found += [f"{name}: {fault}" for fault in rule(name, policies[name])]
    main_tf = (TERRAFORM / "main.tf").read_text()
    found += [f"main.tf: {fault}" for fault in terraform_faults(main_tf, policies)]
    for file in TERRAFORM.glob("*.tf"):
        hcl2.loads(file.read_text())

    twins = [("policy.json", permission_faults, what, twin) for what, twin in broken_permissions(policies["policy.json"])]
    for name in TRUST:
        twins += [(name, trust_faults, what, twin) for what, twin in broken_trust(policies[name])]
    for name, rule, what, twin in twins:
        tries += 1
        if not list(rule(name, twin)):
            found.append(f"{rule.__name__} does not see {what} in {name}")
    for old, new in [("iot:ListCommands\"", "iot:*\""), ("StringEquals", "StringLike"), (":sub", ":aud")]:
        tries += 1
        if not list(terraform_faults(main_tf.replace(old, new), policies)):
            found.append(f"terraform_faults does not see {new}")
    for fault in found:
        print(fault, file=sys.stderr)
    if not found:
        print(f"{len(policies)} policies, Terraform makes 3 of them; {tries} broken copies refused")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
