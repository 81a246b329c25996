"""Asks the simulator with the real boto3 and the real AWS CLI, and compares every answer with the simulator's record.

    python check.py http://127.0.0.1:PORT

The simulator must be fresh: its clock is frozen here, its quotas and faults are switched over its control path.
Prints what it counted; exits 1 at the first difference.
"""

import base64
import datetime
import json
import os
import pathlib
import subprocess
import sys
import urllib.request

import boto3
from botocore.config import Config

PASSED = {}
# The CLI starts a Python of its own for each call: awkward names first, then the rest up to this many.
CLI_CALLS = 24
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDWIRECHECK", "AWS_SECRET_ACCESS_KEY": "none", "AWS_MAX_ATTEMPTS": "1"}
OLD = "2001-01-01T00:00"


def check(kind, condition, message):
    if not condition:
        print(f"FAILED {kind}: {message}")
        sys.exit(1)
    PASSED[kind] = PASSED.get(kind, 0) + 1


def switch(base, path, method="GET", body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{base}/_simulator/{path}", data=data, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def plain(value):
    """boto3's and the CLI's values as the wire has them: times as rounded milliseconds, blobs as base64."""
    if isinstance(value, datetime.datetime):
        return {"millis": round(value.timestamp() * 1000)}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items() if name != "ResponseMetadata"}
    if isinstance(value, list):
        return [plain(member) for member in value]
    return value


def expected(record, members=None, times=("createdAt", "startedAt", "lastUpdatedAt", "completedAt", "timeToLive")):
    """The simulator's own record in the same form."""
    return {
        name: {"millis": round(value * 1000)} if name in times else value
        for name, value in record.items()
        if members is None or name in members
    }


def without_result(record):
    return {name: value for name, value in record.items() if name != "result"}


SUMMARY = ("commandArn", "executionId", "targetArn", "status", "createdAt", "completedAt")
COMMAND_SUMMARY = ("commandArn", "commandId", "displayName", "deprecated", "createdAt", "lastUpdatedAt", "pendingDeletion")


def summary(record):
    """What a listing shows: startedAt is the creation."""
    return expected({**{k: v for k, v in record.items() if k in SUMMARY}, "startedAt": record["createdAt"]})


def region_of(arn):
    return arn.split(":")[3]


def account_of(arn):
    return arn.split(":")[4]


class Check:
    def __init__(self, base):
        self.base = base
        self.clients = {}
        self.records = switch(base, "executions")["executions"]
        self.commands = switch(base, "commands")

    def client(self, region):
        if region not in self.clients:
            self.clients[region] = boto3.client(
                "iot",
                region_name=region,
                endpoint_url=self.base,
                aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
                config=Config(retries={"total_max_attempts": 1}),
            )
        return self.clients[region]

    def boto_get(self):
        for record in self.records:
            client = self.client(region_of(record["targetArn"]))
            key = {"targetArn": record["targetArn"], "executionId": record["executionId"]}
            for full in (False, True):
                answer = plain(client.get_command_execution(**key, includeResult=full))
                wanted = expected(record if full else without_result(record))
                check("boto3 GetCommandExecution", answer == wanted, f"{answer} is not {wanted}")

    def boto_list(self, size, **by):
        arn = by.get("commandArn") or by["targetArn"]
        paginator = self.client(region_of(arn)).get_paginator("list_command_executions")
        pages = list(paginator.paginate(**by, PaginationConfig={"PageSize": size}))
        check("boto3 page sizes", all(len(p["commandExecutions"]) <= size for p in pages), f"{by}: a page is too large")
        return [plain(item) for page in pages for item in page["commandExecutions"]]

    def compare_listing(self, kind, items, records):
        def order(item):
            return item["targetArn"], item["executionId"]

        wanted = sorted((summary(record) for record in records), key=order)
        check(kind, sorted(items, key=order) == wanted, f"{items} is not {wanted}")
        times = [item["createdAt"]["millis"] for item in items]
        check(kind, times == sorted(times, reverse=True) or "completed" in kind, "not the newest first")

    def boto_lists(self):
        started = {"startedTimeFilter": {"after": OLD}}
        for command in self.commands:
            arn = command["commandArn"]
            own = [record for record in self.records if record["commandArn"] == arn]
            self.compare_listing("boto3 list by command", self.boto_list(3, commandArn=arn, **started), own)
            ended = [record for record in own if "completedAt" in record]
            completed = self.boto_list(3, commandArn=arn, completedTimeFilter={"after": OLD})
            self.compare_listing("boto3 list by command, completed", completed, ended)
        for target in sorted({record["targetArn"] for record in self.records}):
            own = [record for record in self.records if record["targetArn"] == target]
            self.compare_listing("boto3 list by target", self.boto_list(2, targetArn=target, **started), own)
            failed = [record for record in own if record["status"] == "FAILED"]
            items = self.boto_list(2, targetArn=target, status="FAILED", **started)
            self.compare_listing("boto3 list by target and status", items, failed)
        ascending = self.boto_list(7, commandArn=self.commands[0]["commandArn"], sortOrder="ASCENDING", **started)
        times = [item["createdAt"]["millis"] for item in ascending]
        check("boto3 sort order", times == sorted(times), "not ascending")

    def boto_commands(self):
        own_account = [command for command in self.commands if account_of(command["commandArn"]) == "123456789012"]
        check("boto3 commands", len(own_account) > 0, "there are none")
        for region in sorted({region_of(command["commandArn"]) for command in own_account}):
            own = [command for command in own_account if region_of(command["commandArn"]) == region]
            pages = list(self.client(region).get_paginator("list_commands").paginate(PaginationConfig={"PageSize": 2}))
            items = sorted((plain(c) for page in pages for c in page["commands"]), key=lambda c: c["commandArn"])
            wanted = sorted((expected(c, COMMAND_SUMMARY) for c in own), key=lambda c: c["commandArn"])
            check("boto3 ListCommands", items == wanted, f"{items} is not {wanted}")
            for command in own:
                answer = plain(self.client(region).get_command(commandId=command["commandId"]))
                check("boto3 GetCommand", answer == expected(command), f"{answer} is not {expected(command)}")

    def boto_errors(self):
        record = self.records[0]
        region = region_of(record["targetArn"])
        client = self.client(region)
        key = {"targetArn": record["targetArn"], "executionId": record["executionId"]}
        arn, filters = record["commandArn"], {"startedTimeFilter": {"after": OLD}}
        gone = {**key, "executionId": "no-such-execution"}
        raises(client, "ResourceNotFoundException", 404, lambda: client.get_command_execution(**gone))
        raises(client, "ResourceNotFoundException", 404, lambda: client.get_command(commandId="no-such-command"))
        invalid = [
            lambda: client.get_command_execution(**{**key, "targetArn": "pump"}),
            lambda: client.list_command_executions(commandArn=arn, targetArn=key["targetArn"], **filters),
            lambda: client.list_command_executions(**filters),
            lambda: client.list_command_executions(commandArn=arn),
            lambda: client.list_command_executions(commandArn=arn, completedTimeFilter={"after": OLD}, **filters),
            lambda: client.list_command_executions(commandArn=arn, status="FAILED", **filters),
            lambda: client.list_command_executions(commandArn=arn, startedTimeFilter={"after": "2999-01-01T00:00"}),
            lambda: client.list_command_executions(commandArn=arn, startedTimeFilter={"after": "2001-01-01T00:00:00Z"}),
            lambda: client.list_command_executions(commandArn=arn, nextToken="nonsense", **filters),
            lambda: client.list_commands(nextToken="nonsense"),
        ]
        for call in invalid:
            raises(client, "ValidationException", 400, call)
        for fault, code, status in [
            ({"kind": "throttle"}, "ThrottlingException", 400),
            ({"kind": "error", "status": 500, "code": "InternalServerException"}, "InternalServerException", 500),
        ]:
            switch(self.base, "faults", "POST", {"count": 1, "effect": fault})
            raises(client, code, status, lambda: client.get_command_execution(**key))
        for code in ("AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException", "InvalidSignatureException"):
            switch(self.base, "faults", "POST", {"count": 1, "effect": {"kind": "error", "status": 403, "code": code}})
            raises(client, code, 403, lambda: client.get_command_execution(**key), modelled=False)
        switch(self.base, "quotas", "POST", {"get_command": 0.000001})
        # The account that is not named in a request is the default one, which is at home here.
        client = self.client("eu-central-1")
        client.get_command(commandId="reboot")
        raises(client, "ThrottlingException", 400, lambda: client.get_command(commandId="reboot"))
        switch(self.base, "quotas", "POST", OFF)

    def cli(self, region, *arguments, fails=None):
        command = [str(pathlib.Path(sys.executable).with_name("aws")), "--endpoint-url", self.base, "--region", region]
        # Without a pager, and without the configuration of whoever runs this.
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "AWS_PAGER": "", **KEYS}
        done = subprocess.run(
            [*command, "--output", "json", "iot", *arguments], env=environment, capture_output=True, text=True, timeout=120
        )
        if fails is not None:
            check("AWS CLI errors", done.returncode != 0 and f"({fails})" in done.stderr, f"{arguments}: {done.stderr}")
            return None
        check("AWS CLI exit codes", done.returncode == 0, f"{arguments}: {done.stderr}")
        return json.loads(done.stdout)

    def cli_get(self):
        def awkwardness(record):
            name = record["targetArn"].split(":", 5)[5].split("/", 1)[1]
            return -sum(not (c.isascii() and (c.isalnum() or c in "-_")) for c in name)

        for record in sorted(self.records, key=awkwardness)[:CLI_CALLS]:
            arguments = ("get-command-execution", f"--target-arn={record['targetArn']}", f"--execution-id={record['executionId']}")
            answer = from_cli(self.cli(region_of(record["targetArn"]), *arguments, "--include-result"))
            check("AWS CLI get-command-execution", answer == expected(record), f"{answer} is not {expected(record)}")
        gone = ("get-command-execution", f"--target-arn={self.records[0]['targetArn']}", "--execution-id=gone")
        self.cli(region_of(self.records[0]["targetArn"]), *gone, fails="ResourceNotFoundException")

    def cli_lists(self):
        arn = max((c["commandArn"] for c in self.commands), key=lambda a: sum(r["commandArn"] == a for r in self.records))
        own = [record for record in self.records if record["commandArn"] == arn]
        arguments = ("list-command-executions", f"--command-arn={arn}", f"--started-time-filter=after={OLD}", "--page-size=4")
        items = [from_cli(item) for item in self.cli(region_of(arn), *arguments)["commandExecutions"]]
        self.compare_listing("AWS CLI list-command-executions", items, own)
        both = ("list-command-executions", f"--command-arn={arn}", f"--target-arn={own[0]['targetArn']}", f"--started-time-filter=after={OLD}")
        self.cli(region_of(arn), *both, fails="ValidationException")
        here = [c for c in self.commands if c["commandArn"].startswith("arn:aws:iot:eu-central-1:123456789012:")]
        listed = self.cli("eu-central-1", "list-commands", "--page-size=2")["commands"]
        ids = sorted(command["commandId"] for command in listed)
        check("AWS CLI list-commands", ids == sorted(c["commandId"] for c in here), f"{ids}")
        answer = from_cli(self.cli("eu-central-1", "get-command", "--command-id=reboot"))
        wanted = expected(next(c for c in here if c["commandId"] == "reboot"))
        check("AWS CLI get-command", answer == wanted, f"{answer} is not {wanted}")
        switch(self.base, "faults", "POST", {"count": 1, "effect": {"kind": "throttle"}})
        self.cli("eu-central-1", "get-command", "--command-id=reboot", fails="ThrottlingException")


OFF = {"get_command_execution": None, "list_command_executions": None, "list_commands": None, "get_command": None}


def raises(client, code, status, call, modelled=True):
    wanted = getattr(client.exceptions, code) if modelled else client.exceptions.ClientError
    try:
        call()
    except wanted as error:
        got = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        check("boto3 errors", got == (code, status), f"{got} is not {(code, status)}")
        check("boto3 request ids", bool(error.response["ResponseMetadata"].get("RequestId")), "no request id")
    except client.exceptions.ClientError as error:
        check("boto3 errors", False, f"{error!r} is no {code}")
    else:
        check("boto3 errors", False, f"nothing was raised instead of {code}")


def from_cli(item):
    """The CLI prints times as epoch seconds or ISO 8601, by its version and settings."""
    members = ("createdAt", "startedAt", "lastUpdatedAt", "completedAt", "timeToLive")

    def moment(value):
        seconds = datetime.datetime.fromisoformat(value).timestamp() if isinstance(value, str) else value
        return {"millis": round(seconds * 1000)}

    return {name: moment(value) if name in members else value for name, value in item.items()}


def main():
    base = sys.argv[1].rstrip("/")
    switch(base, "clock", "POST", {"freeze": True})
    switch(base, "quotas", "POST", OFF)
    checks = Check(base)
    check("fleet", len(checks.records) > 0, "the simulator has no executions")
    checks.boto_get()
    for empty in (False, True):
        switch(base, "listing", "POST", {"emptyPages": empty})
        checks.boto_lists()
        checks.boto_commands()
    checks.boto_errors()
    checks.cli_get()
    checks.cli_lists()
    for kind, count in PASSED.items():
        print(f"{count:6} {kind}")
    print(f"{sum(PASSED.values())} passed, 0 failed")


if __name__ == "__main__":
    main()
