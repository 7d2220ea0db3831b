"""Holds the findings of a run against the truth: what was claimed rightly, wrongly, without ground, and what was missed.

The truth is what the callers of system.py were told to do (SYSTEM.json) and what they wrote down (LOG.jsonl). A claim is anything
that is not null. Null is no error; it is counted as missed only where the thing happened often enough to be seen.
"""

import json
from collections import defaultdict
from datetime import datetime

import make

SURE = 8            # what happened less often may go unseen


class Truth:
    def __init__(self, system, log, report):
        self.system, self.edges = system, make.edges_of(system)
        self.phases = {one["name"]: (one["from"], one["to"]) for one in report["phases"]}
        zero = datetime.fromisoformat(report["started"]).timestamp()
        self.calls, self.stalls = defaultdict(list), []
        for line in open(log):
            try:
                row = json.loads(line)
            except ValueError:
                continue    # the last line of a log that was cut
            if row[0] == "stall":
                self.stalls.append((row[1] - zero, row[2] - zero))
            elif len(row) == 4:
                attempts = [(a - zero, b - zero, how) for a, b, how in row[3]]
                self.calls[row[0]].append((row[1] - zero, row[2], attempts))
        fault = system["fault"]
        if fault:
            self.sources = {fault["edge"]}
        else:
            self.sources = {name for name, made in self.edges.items() if made["to"] == system.get("ill")}

    def attempts(self, edge, span):
        return [one for _, _, all in self.calls[edge] for one in all if span[0] <= one[0] < span[1]]

    def below(self, edge):
        """The edges that an edge depends on."""
        found, todo = set(), [self.edges[edge]["to"]]
        while todo:
            service = todo.pop()
            for name, made in self.edges.items():
                if made["from"] == service and name not in found:
                    found.add(name)
                    todo.append(made["to"])
        return found

    def calm(self, edge):
        """Whether nothing at all changed on an edge in the fault phase, with room to spare."""
        before, during = (self.attempts(edge, self.phases[phase]) for phase in ("baseline", "fault"))
        if len(before) < 40 or len(during) < 40:
            return False
        lasted = [self.phases[phase][1] - self.phases[phase][0] for phase in ("baseline", "fault")]
        rate = (len(during) / lasted[1]) / (len(before) / lasted[0])
        failed = sum(how != "ok" for _, _, how in during) / len(during)
        times = [sorted(b - a for a, b, _ in all) for all in (before, during)]
        middle, high = (times[1][int(len(times[1]) * q)] / max(times[0][int(len(times[0]) * q)], 1e-4) for q in (0.5, 0.95))
        return 0.9 < rate < 1.1 and failed < 0.01 and middle < 1.15 and high < 1.25

    def bad(self, edge):
        """The attempts of an edge with whether each was bad, by its own baseline."""
        usual = sorted(b - a for a, b, how in self.attempts(edge, self.phases["baseline"]) if how == "ok")
        if len(usual) < 20:
            return None
        limit = usual[int(len(usual) * 0.99)] * 1.5 + 0.03
        return [(a, b, how != "ok" or b - a > limit) for _, _, all in self.calls[edge] for a, b, how in all]

    def ill_share(self, edge):
        all, (begin, end) = self.bad(edge) or [], self.phases["fault"]
        mine = [bad for a, _, bad in all if begin + 1 <= a < end]
        return sum(mine) / len(mine) if mine else 0.0

    def recovery(self, edge):
        """From heal on, when the share of bad attempts fell under 50 % and under 10 % for good; None: it did not."""
        all, (begin, end) = self.bad(edge), self.phases["recovery"]
        if all is None:
            return None
        last = {0.5: 0.0, 0.1: 0.0}
        at = begin
        while at < end - 2.5:
            mine = [bad for a, _, bad in all if at <= a < at + 0.5]
            if mine:
                for limit in last:
                    if sum(mine) / len(mine) > limit:
                        last[limit] = at + 0.5 - begin
            at += 0.25
        return last[0.5], last[0.1], end - 2.5 - begin

    def amplification(self, edge, phase):
        """Attempts per call: of the calls begun in a phase, all of theirs or those within it. None: too few to tell."""
        begin, end = self.phases[phase]
        begun = [all for _, _, all in self.calls[edge] if all and begin <= all[0][0] < end]
        if len(begun) < 20:
            return None
        within = lambda calls: sum(begin <= one[0] < end for all in calls for one in all)
        touched = [all for _, _, all in self.calls[edge] if within([all])]
        return sum(map(len, begun)) / len(begun), within(begun) / len(begun), within(touched) / len(touched)

    def gave_up(self, edge):
        return sum(how == "timeout" for _, _, all in self.calls[edge] for _, _, how in all)

    def used_up(self, edge):
        """How many calls failed with all of their attempts, by themselves."""
        full = self.edges[edge]["retries"] + 1
        return sum(how == "failed" and len(all) == full for _, how, all in self.calls[edge])


def near(claim, truth, share, least=0.0):
    return abs(claim - truth) <= max(truth * share, least)


def score(system, log, report):
    """A list of (about, edge, 'right' | 'wrong' | 'invented' | 'missed', words)."""
    truth, found = Truth(system, log, report), report
    told = []
    say = lambda about, edge, how, words: told.append((about, edge, how, words))
    healthy = not system["fault"] and "ill" not in system

    cascade = found["cascade"]
    for one in cascade:
        edge, words = one["edge"], f"at {one['at']:.2f}: {one['evidence']}"
        if healthy:
            say("onset", edge, "invented", f"nothing was wrong: {words}")
        elif edge != "e0" and edge not in truth.sources and truth.calm(edge):
            say("onset", edge, "invented", f"a calm edge: {words}")
        else:
            say("onset", edge, "right", words)
        if one["source"] and not healthy:
            say("source", edge, "right" if edge in truth.sources else "wrong", f"truly {sorted(truth.sources)}: {words}")
    at = {one["edge"]: one["at"] for one in cascade}
    for source in truth.sources & at.keys():
        for edge in at:
            if source in truth.below(edge):
                right = at[source] <= at[edge] + 0.5
                say("order", edge, "right" if right else "wrong", f"{source} {at[source]:.2f}, {edge} {at[edge]:.2f}")
    shown = [edge for edge in truth.sources if edge != "e0" and truth.ill_share(edge) > 0.8]
    if shown and not any(one["source"] for one in cascade):
        say("source", shown[0], "missed", f"{shown} were ill in full")

    for one in found["amplification"]:
        edge, claim = one["edge"], one["amplification"]
        if edge == "e0" or claim is None or one["phase"] not in ("baseline", "fault") or truth.edges[edge].get("tcp"):
            continue
        real = truth.amplification(edge, one["phase"])
        if real is None or system["ids"] == "nothing":
            continue
        right = min(real) * 0.93 <= claim <= max(real) * 1.07
        words = f"{one['phase']}: {claim:.2f}, truly {' or '.join(f'{all:.2f}' for all in real)} ({one['logical']} logical)"
        say("amplification", edge, "right" if right else "wrong", words)

    for one in found["recovery"]:
        edge, real = one["edge"], truth.recovery(one["edge"]) if one["edge"] != "e0" else None
        if real is None or one["state"] == "unmeasured":
            continue
        if truth.ill_share(edge) < 0.3:
            continue    # what ailed it, if anything, was its rate: that is not in the callers' log
        half, tenth, seen = real
        words = f"{one['state']} within {one['within']}, truly 50 % at {half:.2f}, 10 % at {tenth:.2f} of {seen:.1f}"
        if one["state"] == "not":
            # a tenth of bad ones may be its habit; half of them at the end is not
            say("recovered", edge, "right" if tenth > seen - 1.5 else "wrong", words)
        else:
            say("recovered", edge, "right" if half < seen - 0.5 else "wrong", words)
            if one["within"] is not None:
                right = half - 1.0 <= one["within"] <= tenth + 1.0
                say("recovery time", edge, "right" if right else "wrong", words)

    for one in found["fingerprints"]:
        fingerprint(say, truth, one, system)
    return told, truth


def fingerprint(say, truth, one, system):
    edge, made = one["edge"], truth.edges[one["edge"]]
    words = lambda claim, real: f"{claim}, truly {real}; {'; '.join(one['evidence'])}"

    claim, real = one["timeout"], made["timeout"]
    if claim is not None:
        if real is None:
            say("timeout", edge, "invented", words(claim, "none"))
        else:
            say("timeout", edge, "right" if near(claim, real, 0.05, 0.01) else "wrong", words(claim, real))
    elif edge != "e0" and real and truth.gave_up(edge) >= SURE and not made.get("tcp"):
        say("timeout", edge, "missed", f"{real}, {truth.gave_up(edge)} times")

    claim, real = one["retries"], made["retries"]
    if claim is not None:
        say("retries", edge, "right" if claim == real else "wrong" if real else "invented", words(claim, real))
    elif edge != "e0" and not made.get("tcp") and system["ids"] != "nothing" and truth.used_up(edge) >= SURE:
        say("retries", edge, "missed", f"{real}, used up {truth.used_up(edge)} times")

    claim = one["backoff"]
    if claim is not None:
        if not made["retries"]:
            say("backoff", edge, "invented", words(claim, "none"))
        else:
            how = made["backoff"]
            real = [min(how["base"] * how["factor"] ** n, how["cap"]) for n in range(made["retries"])]
            # of widely spread pauses a median of few is nowhere near
            share = {"none": 0.15, "tenth": 0.15, "half": 0.25, "full": 0.4}[how["jitter"]]
            right = len(claim) <= len(real) and all(near(c, r, share, 0.01) for c, r in zip(claim, real))
            say("backoff", edge, "right" if right else "wrong", words(claim, f"{real} ({how['jitter']} jitter)"))
    elif made["retries"] and system["ids"] != "nothing" and truth.used_up(edge) >= SURE:
        say("backoff", edge, "missed", f"{made['backoff']}, used up {truth.used_up(edge)} times")

    claim, real = one["breaker"], made.get("breaker")
    if claim is not None:
        if not real:
            say("breaker", edge, "invented", words(claim, "none"))
        else:
            if claim["failures"] is not None:
                say("breaker", edge, "right" if abs(claim["failures"] - real["after"]) <= 1 else "wrong", words(claim, real))
            if claim.get("counts") is not None and made["retries"]:
                say("counted", edge, "right" if claim["counts"] == real["counts"] else "wrong", words(claim, real))
            if claim["open_for"] is not None:
                say("open time", edge, "right" if near(claim["open_for"], real["open"], 0.1) else "wrong", words(claim, real))
    elif real and sum(how == "breaker" for _, how, _ in truth.calls[edge]) >= 3 * SURE:
        say("breaker", edge, "missed", f"{real}, {sum(how == 'breaker' for _, how, _ in truth.calls[edge])} calls refused")

    # A caller that serves so many at once has no more calls under way either.
    claim, real = one["pool"], made.get("pool")
    workers = next((one.get("workers") for one in system["services"] if one["name"] == made["from"]), None)
    if claim is not None and workers and abs(claim - workers) <= 1:
        say("pool", edge, "right", words(claim, f"{workers} workers"))
    elif claim is not None:
        if not real:
            say("pool", edge, "invented", words(claim, "none"))
        else:
            say("pool", edge, "right" if abs(claim - real["size"]) <= 1 else "wrong", words(claim, real))
    elif real and sum(how == "queue" for _, how, _ in truth.calls[edge]) >= SURE and not made.get("tcp"):
        say("pool", edge, "missed", f"{real}")

    claim = one["fallback"]
    if claim is not None and claim > 0.5:
        say("fallback", edge, "right" if made.get("fallback") else "invented", words(claim, made.get("fallback", False)))
