"""For the alerts' end-to-end check: accounts of the simulated AWS, each with its fault and what it deserves."""

import time

from alerts_programs import HOUR, ask

REGION = "eu-central-1"


def labels(alert, severity, component, **more):
    told = {"alertname": f"AwsIotCommand{alert}", "severity": severity, "component": component}
    return frozenset((told | more).items())


class Account:
    """One account of the simulated AWS: its executions, its fault, and what must come of it."""

    def __init__(self, number, about, executions=3):
        self.id = f"1{number:011}"
        self.about = about
        self.count = executions
        self.expected = set()
        self.muted = set()
        self.break_it = self.mend_it = lambda: None

    def arn(self, what):
        return f"arn:aws:iot:{REGION}:{self.id}:{what}"

    def pair(self, number):
        return {"target_arn": self.arn(f"thing/pump-{number}"), "execution_id": f"execution-{number}"}

    def pairs(self):
        return [self.pair(number) for number in range(self.count)]

    def record(self, number, status, *, age=0, timeout=24 * HOUR, updated=None, completed=None):
        """An execution as AWS describes it, created `age` seconds ago; `updated` and `completed` are ago too."""
        now = time.time()
        record = {
            "targetArn": self.arn(f"thing/pump-{number}"),
            "executionId": f"execution-{number}",
            "commandArn": self.arn("command/reboot"),
            "status": status,
            "executionTimeoutSeconds": timeout,
            "createdAt": round(now - age, 3),
            "lastUpdatedAt": round(now - (age if updated is None else updated), 3),
        }
        if completed is not None:
            record["completedAt"] = round(now - completed, 3)
        return record

    def healthy(self, number):
        """In progress, with an update that stays young during the whole run."""
        return self.record(number, "IN_PROGRESS", updated=-HOUR)

    def executions(self, alert, severity="warning", **more):
        place = {"account_id": self.id, "region": REGION, "command": "reboot"}
        self.expected.add(labels(alert, severity, "executions", **place, **more))

    def exporter(self, alert, severity="warning"):
        self.expected.add(self.of_exporter(alert, severity))
        return self

    def muting(self, *alerts):
        """These fire too, and are muted as long as the fault lasts. What mutes them may end a moment before they do."""
        self.muted |= {self.of_exporter(alert, "critical" if alert == "Blind" else "warning") for alert in alerts}

    def of_exporter(self, alert, severity):
        return labels(f"Exporter{alert}", severity, "exporter", account_id=self.id, region=REGION)


class Faults:
    """Makes the accounts, each with its fault. `simulator` is the control path's address."""

    def __init__(self, simulator):
        self.simulator = simulator
        self.accounts = []

    def put(self, record):
        ask(f"{self.simulator}/executions", record)

    def remove(self, record):
        ask(f"{self.simulator}/executions", record, "DELETE")

    def account(self, about, executions=3):
        self.accounts.append(Account(len(self.accounts) + 1, about, executions))
        return self.accounts[-1]

    def refusing(self, about, executions, effect, **more):
        """Calls for this account go wrong so. The faults of all accounts are switched off together."""
        account = self.account(about, executions)
        wanted = {"operation": "GetCommandExecution", "account": account.id, "effect": effect, **more}
        account.break_it = lambda: ask(f"{self.simulator}/faults", wanted)
        return account

    def turning(self, about, executions, **record):
        """All executions of this account turn into such ones."""
        account = self.account(about, executions)

        def turn():
            for number in range(executions):
                self.put(account.record(number, **record))

        def back():
            for number in range(executions):
                self.put(account.healthy(number))

        account.break_it, account.mend_it = turn, back
        return account

    def all(self):
        denied = {"kind": "error", "status": 403, "code": "AccessDeniedException"}
        expired = {"kind": "error", "status": 403, "code": "ExpiredTokenException"}
        self.account("nothing is wrong")
        self.refusing("every fifth call is throttled", 10, {"kind": "throttle"}, probability=0.2).exporter("Throttled")
        account = self.refusing("every call is denied", 5, denied)
        account.exporter("Unauthorised", "critical").muting("Unauthorised", "Blind", "Stale")
        account = self.account("calls for one device are denied", 5)
        account.exporter("Unauthorised").muting("Stale")
        target = {"operation": "GetCommandExecution", "target": account.arn("thing/pump-0"), "effect": denied}
        account.break_it = lambda: ask(f"{self.simulator}/faults", target)
        account = self.refusing("the token has expired", 5, expired)
        account.exporter("CredentialsInvalid", "critical").muting("Blind", "Stale")
        self.refusing("calls hang", 6, {"kind": "hang"}).exporter("Blind", "critical").muting("Stale")
        account = self.account("calls for one device hang")
        account.exporter("Stale")
        hang = {"operation": "GetCommandExecution", "target": account.arn("thing/pump-0"), "effect": {"kind": "hang"}}
        account.break_it = lambda hang=hang: ask(f"{self.simulator}/faults", hang)
        self.vanishing().executions("ExecutionVanished")
        self.turning("not picked up", 2, status="CREATED", age=60).executions("NotPickedUp")
        self.turning("no progress", 2, status="IN_PROGRESS", age=600, updated=300).executions("NoProgress")
        near = {"status": "IN_PROGRESS", "timeout": HOUR, "updated": -HOUR}
        self.turning("near the deadline", 2, age=3300, **near).executions("DeadlineNear")
        account = self.turning("seconds before the deadline", 2, age=3597, **near)
        account.executions("DeadlineNear")
        account.executions("DeadlineImminent")
        account = self.turning("all fail", 25, status="FAILED", completed=0)
        account.executions("Failures", status="FAILED")
        account.executions("FailureRatio")
        account.executions("SuccessBudgetBurn", "critical")
        account = self.turning("a few are rejected", 6, status="REJECTED", completed=0)
        account.executions("Failures", status="REJECTED")
        self.timing_out().executions("ServiceTimeouts")
        self.turning("the device gives up", 2, status="TIMED_OUT", completed=0).executions("DeviceTimeouts")
        self.turning("finished late", 2, status="SUCCEEDED", age=60, timeout=30, completed=1).executions("FinishedLate")
        return self.accounts

    def vanishing(self):
        account = self.account("the service forgets one")
        account.break_it = lambda: self.remove(account.record(0, "CREATED"))
        account.mend_it = lambda: self.put(account.healthy(0))
        return account

    def timing_out(self):
        """The service times some out while others of the same command are near their deadline, which that mutes."""
        account = self.account("the service times out", 4)

        def break_it():
            for number in range(4):
                late = self.record_of_timed_out(account, number)
                soon = account.record(number, "IN_PROGRESS", age=3300, timeout=HOUR, updated=-HOUR)
                self.put(late if number < 2 else soon)

        account.break_it = break_it
        account.mend_it = lambda: [self.put(account.healthy(number)) for number in range(4)]
        return account

    @staticmethod
    def record_of_timed_out(account, number):
        record = account.record(number, "TIMED_OUT", age=11, timeout=10, updated=1)
        return record | {"statusReason": {"reasonCode": "$NO_RESPONSE_FROM_DEVICE"}}


def shown(alert):
    told = dict(alert)
    rest = ", ".join(f"{key}={value}" for key, value in sorted(told.items()) if key not in ("alertname", "component"))
    return f"{told['alertname']}({rest})"
