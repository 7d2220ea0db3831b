"""Random systems with known habits: from a seed to the description that system.py reads and the experiment that Brownout runs."""

import json
import os
import random


def magnitude(chance, low, high):
    """Any order of magnitude between the two is as likely; two figures, as people write them."""
    return float(f"{low * (high / low) ** chance.random():.2g}")


def edge(chance, name, depth, to):
    made = {"name": name, "to": to, "retries": 0, "share": 1.0}
    made["timeout"] = magnitude(chance, 0.15, 3.0 / depth) if chance.random() < 0.85 else None
    if chance.random() < 0.65:
        made["retries"] = chance.randint(1, 4)
    made["backoff"] = {
        "base": magnitude(chance, 0.03, 0.5), "factor": chance.choice([1.0, 1.0, 2.0, 2.0, 3.0]),
        "cap": chance.choice([1.0, 2.0, 30.0]), "jitter": chance.choice(["none", "none", "tenth", "half", "full"]),
    }
    if chance.random() < 0.35:
        made["breaker"] = {"after": chance.choice([3, 5, 8, 10, 20]), "open": magnitude(chance, 0.7, 4.0),
                           "counts": chance.choice(["attempts", "calls"])}
    if chance.random() < 0.35:
        made["pool"] = {"size": chance.choice([3, 5, 8, 10, 16, 20, 32]), "holds": "attempt" if chance.random() < 0.8 else "call",
                        "wait": magnitude(chance, 0.2, 5.0) if chance.random() < 0.7 else None}
    if chance.random() < 0.15:
        made["fallback"] = True
    if chance.random() < 0.15:
        made["share"] = round(chance.uniform(0.4, 0.9), 2)
    return made


def harm(chance):
    kind = chance.choice(["latency", "latency", "latency", "hang", "hang", "respond", "respond", "drop"])
    if kind == "latency":
        low = magnitude(chance, 0.1, 3.0)
        return {"latency": f'{{ uniform = ["{low * 1000:.0f}ms", "{low * chance.choice([1.0, 1.5, 2.0]) * 1000 + 1:.0f}ms"] }}'}
    return {"hang": {"hang": "true"}, "respond": {"respond": str(chance.choice([500, 503]))},
            "drop": {"drop": '{ how = "close" }'}}[kind]


def invent(seed, baseline=8, fault=12, recovery=10):
    """A system: its services, phases, load and what goes wrong."""
    chance = random.Random(seed)
    count = chance.randint(2, 6)
    ids = chance.choice(["idempotency-key", "call-id", "request-id", "trace", "path", "path", "nothing"])
    rate = magnitude(chance, 10, 60)
    services = [{
        "name": f"s{n}", "median": magnitude(chance, 0.002, 0.05), "sigma": round(chance.uniform(0.1, 0.5), 2),
        "cancels": chance.random() < 0.5, "together": chance.random() < 0.2, "ids": ids, "calls": [],
    } for n in range(count)]
    depth, edges = {0: 1}, []
    for to in range(1, count):
        callers = [to - 1 if chance.random() < 0.6 else chance.randint(0, to - 1)]
        if to >= 2 and chance.random() < 0.2:
            callers.append(chance.randint(0, to - 1))
        for caller in dict.fromkeys(callers):
            depth[to] = max(depth.get(to, 0), depth[caller] + 1)
            made = edge(chance, f"e{len(edges) + 1}", depth[to] - 1, f"s{to}")
            services[caller]["calls"].append(made)
            edges.append((f"s{caller}", made))
    for one in services:
        if chance.random() < 0.25:
            one["workers"] = max(8, int(rate * one["median"] * chance.uniform(8, 30)))
    if chance.random() < 0.3:
        owner = chance.choice(services)
        made = {"name": "db", "to": "store", "tcp": True, "retries": 0, "share": 1.0, "timeout": 2.0,
                "backoff": {"base": 0.1, "factor": 1.0, "cap": 1.0, "jitter": "none"},
                "pool": {"size": chance.choice([5, 10, 20]), "holds": "attempt", "wait": 2.0}}
        owner["calls"].insert(0, made)
        edges.append((owner["name"], made))
        services.append({"name": "store", "tcp": True, "median": 0.003, "sigma": 0.3, "cancels": False, "ids": ids, "calls": []})
    system = {"seed": seed, "services": services, "ids": ids, "rate": rate, "timeout": chance.choice([2, 5, 10]),
              "phases": [baseline, fault, recovery], "fault": None}
    inner = [made["name"] for _, made in edges if not made.get("tcp")]
    luck = chance.random()
    if luck < 0.2:
        sick = chance.choice([one for one in services if not one.get("tcp")])
        # Counted from its start, a little before the baseline's.
        sick["ill"] = {"from": baseline + 1.5, "to": baseline + fault, "how": chance.choice(["slow", "errors", "hang"]),
                       "by": magnitude(chance, 0.3, 3.0)}
        system["ill"] = sick["name"]
    elif luck < 0.9:
        where = chance.choice(inner) if chance.random() < 0.9 else "e0"
        system["fault"] = {"edge": where, "percent": 100 if chance.random() < 0.75 else chance.randint(40, 90), **harm(chance)}
    return system


def edges_of(system):
    """Every edge by its name: who calls whom, and how. The load's is e0."""
    front = {"name": "e0", "to": system["services"][0]["name"], "retries": 0, "timeout": system["timeout"], "share": 1.0}
    inner = [(one["name"], made) for one in system["services"] for made in one["calls"]]
    return {made["name"]: {"from": caller, **made} for caller, made in [("client", front), *inner]}


def experiment(system, program, system_file, log_file):
    """The experiment file for a system: Brownout starts it, loads it and harms it."""
    quoted = lambda text: json.dumps(os.fspath(text))
    baseline, fault, recovery = system["phases"]
    ports = {one["name"]: f"${{port.{one['name']}}}" for one in system["services"]}
    edges = edges_of(system)
    env = {f"PORT_{name.upper()}": port for name, port in ports.items()}
    env |= {f"EDGE_{name.upper()}": f"${{edge.{name}}}" for name in edges if name != "e0"}
    first = system["services"][0]["name"]
    text = [
        f'name = "system-{system["seed"]}"\nseed = {system["seed"]}\n',
        f'[run]\nwarmup = "1s"\nbaseline = "{baseline}s"\nfault = "{fault}s"\nrecovery = "{recovery}s"\n',
        f'[[service]]\nname = "system"\ncommand = ["python3", "-I", "-S", {quoted(program)}, {quoted(system_file)}, {quoted(log_file)}]',
        "env = { " + ", ".join(f'{name} = "{value}"' for name, value in env.items()) + " }",
        f'ready = {{ http = "http://127.0.0.1:{ports[first]}/health" }}\n',
    ]
    for name, made in edges.items():
        scheme = "tcp" if made.get("tcp") else "http"
        text.append(f'[[edge]]\nname = "{name}"\nlisten = "127.0.0.1:0"\nupstream = "{scheme}://127.0.0.1:{ports[made["to"]]}"\n'
                    f'from = "{made["from"]}"\nto = "{made["to"]}"\n')
    headers = {"trace": ', headers = { traceparent = "00-${uuid}-00000000000000a1-01" }',
               "request-id": ', headers = { x-request-id = "${uuid}" }'}.get(system["ids"], "")
    if system["ids"] == "trace":
        headers = ""    # a traceparent wants 32 digits without dashes: the first service makes it
    text.append(f'[load]\nedge = "e0"\nrate = "{system["rate"]:g}/s"\ntimeout = "{system["timeout"]}s"\n'
                f'request = {{ path = "/?n=${{n}}"{headers} }}\n')
    if harm := system["fault"]:
        deed = next(key for key in harm if key not in ("edge", "percent"))
        text.append(f'[[fault]]\nname = "harm"\nedge = "{harm["edge"]}"\nmatch = "all"\npercent = {harm["percent"]}\n'
                    f'{deed} = {harm[deed]}\n')
    elif "ill" in system:
        # Nothing is injected: a service falls ill by itself. A run needs a fault, so one that strikes nobody.
        text.append('[[fault]]\nname = "nothing"\nedge = "e0"\nmatch = { path = "/never" }\nlatency = "1ms"\noptional = true\n')
    else:
        text.append('[[fault]]\nname = "nothing"\nedge = "e0"\nmatch = { path = "/never" }\nlatency = "1ms"\noptional = true\n')
    return "\n".join(text)
