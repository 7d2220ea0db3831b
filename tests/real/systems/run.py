"""Random systems through Brownout, and its findings against the truth: python3 run.py BROWNOUT FOLDER SEED… [--side-by-side N]

SEED is a number or a range such as 1-40. Every seed gets a folder: system.json, experiment.toml, log.jsonl (what its callers did)
and runs/ (Brownout's own). Prints a line a run with what was wrong, invented or missed, and the sum of all. With --again the runs
that are there are scored anew, from their journals (`brownout report`). Exit code 1: something was wrong or invented.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))
import make
import score

STILL = 0.5     # seconds in which the services themselves got no time to run: then their log is no truth


def seeds(words):
    for word in words:
        first, _, last = word.partition("-")
        yield from range(int(first), int(last or first) + 1)


def prepare(folder, seed, phases):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    system = make.invent(seed, *phases)
    (folder / "system.json").write_text(json.dumps(system, indent=1))
    text = make.experiment(system, HERE / "system.py", folder / "system.json", folder / "log.jsonl")
    (folder / "experiment.toml").write_text(text)


def report_of(folder):
    return next((folder / "runs").glob("*/report.json"))


def run(brownout, folder, seed, phases, again):
    if again:
        old = report_of(folder)
        done = subprocess.run([brownout, "report", old.parent, "--format", "json"], capture_output=True, text=True, timeout=300)
        report = json.loads(done.stdout)
    else:
        prepare(folder, seed, phases)
        child = subprocess.Popen([brownout, "run", "--admin", "none", "experiment.toml"], cwd=folder, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=open(folder / "stderr", "w"))
        try:
            child.wait(timeout=sum(phases) * 2 + 60)
        except subprocess.TimeoutExpired:
            child.terminate()   # it ends what it started
            child.wait()
        report = json.loads(report_of(folder).read_text())
    system = json.loads((folder / "system.json").read_text())
    told, truth = score.score(system, folder / "log.jsonl", report)
    stalled = sum(to - begun for begun, to in truth.stalls)
    told = told if stalled <= STILL else []
    (folder / "score.json").write_text(json.dumps(told, indent=1))
    return seed, system, told, stalled, report["verdict"]


def main():
    take = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    take.add_argument("brownout")
    take.add_argument("folder", type=pathlib.Path)
    take.add_argument("seeds", nargs="+")
    take.add_argument("--side-by-side", type=int, default=2)
    take.add_argument("--phases", type=int, nargs=3, default=[8, 12, 10], metavar=("BASELINE", "FAULT", "RECOVERY"))
    take.add_argument("--again", action="store_true")
    args = take.parse_args()
    brownout = os.path.abspath(args.brownout)
    folder = args.folder.resolve()
    sums = Counter()

    def one(seed):
        try:
            return run(brownout, folder / str(seed), seed, args.phases, args.again)
        except Exception as error:      # one that cannot be run does not stop the others
            return seed, None, [("run", "", "wrong", f"{type(error).__name__}: {error}")], 0.0, "none"

    with ThreadPoolExecutor(args.side_by_side) as pool:
        for seed, system, told, stalled, verdict in pool.map(one, seeds(args.seeds)):
            harm = system and (system["fault"] or {"ill": system.get("ill")})
            print(f"{seed}: {verdict}, {json.dumps(harm)}" + (f", it stood still for {stalled:.1f} s" if stalled else ""))
            if stalled > STILL:
                print("    it is not counted: what its services did then is nobody's habit")
            for about, edge, how, words in told:
                sums[about, how] += 1
                if how != "right":
                    print(f"    {how} {about} on {edge}: {words}", flush=True)
    print(f"{'':14} right wrong invented missed")
    for about in dict.fromkeys(about for about, _ in sums):
        print(f"{about:14}" + "".join(f"{sums[about, how]:{width}}" for how, width in
                                      [("right", 6), ("wrong", 6), ("invented", 9), ("missed", 7)]))
    false = sum(n for (_, how), n in sums.items() if how in ("wrong", "invented"))
    claims = false + sum(n for (_, how), n in sums.items() if how == "right")
    print(f"{false} of {claims} claims are false: {100 * false / max(claims, 1):.1f} %")
    sys.exit(1 if false else 0)


if __name__ == "__main__":
    main()
