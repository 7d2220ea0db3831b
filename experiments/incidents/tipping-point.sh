#!/bin/sh
# At which latency of the provider does the cascade of timeout-cut.toml start (here without its restart), with each timeout? A line a run, half a minute each:
#   experiments/incidents/tipping-point.sh [BROWNOUT]
# LATENCIES and TIMEOUTS, in milliseconds, may be given in the environment.
set -eu
brownout=${1:-brownout}
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "timeout latency  checkout provider connections"
for timeout in ${TIMEOUTS:-500 5000}; do
  for latency in ${LATENCIES:-300 450 1000 3000 4500}; do
    rm -rf "$folder/runs"
    # Its recovery is too short to be judged: what counts is that there is a report.
    (cd "$folder" && "$brownout" run "$here/timeout-patient.toml" --admin none \
      --set run.baseline=5s --set run.fault=14s --set run.recovery=2s \
      --set "service.payments.env.PROVIDER_TIMEOUT_MS=\"$timeout\"" \
      --set "fault.\"the provider takes its time\".latency=\"${latency}ms\"" >"$folder/out" 2>"$folder/err") || true
    [ -e "$folder"/runs/*/report.json ] || { cat "$folder/err"; exit 1; }
    python3 - "$folder"/runs/*/report.json "$timeout" "$latency" <<'PYTHON'
import json, sys
told = {one["key"]: one["observed"] or 0 for one in json.load(open(sys.argv[1]))["expectations"] if one["phase"] == "fault"}
well, tries, open_ = (told[key] for key in ("success_rate", "amplification", "open_connections"))
print(f"{sys.argv[2]:>7} {sys.argv[3]:>7} {well:8.1%} well {tries:5.2f}x {open_:8.0f}", flush=True)
PYTHON
  done
done
