#!/usr/bin/env python3
"""judge.py REPORTS ALLOWED: totals of an Autobahn report; fails on anything less than OK that is not allowed."""
import ast
import collections
import json
import pathlib
import re
import sys

reports, allowed = map(pathlib.Path, sys.argv[1:3])
lines = (line.split("#")[0].split() for line in allowed.read_text().splitlines())
allowed = {case: verdict for case, verdict in filter(None, lines)}
cases = re.search(r"^Cases = (\[.*\])$", (reports / "wstest.log").read_text(), re.M)
wanted = set(ast.literal_eval(cases.group(1))) if cases else set()
bad = []
for agent, results in json.loads((reports / "index.json").read_text()).items():
    sections = collections.defaultdict(collections.Counter)
    for case, result in results.items():
        behavior, close = result["behavior"], result["behaviorClose"]
        sections[int(case.split(".")[0])][behavior] += 1
        if behavior != "OK" and allowed.get(case) != behavior or close not in ("OK", "INFORMATIONAL"):
            bad.append(f"{case}: {behavior}, close {close} (code {result['remoteCloseCode']})")
    total = sum(sections.values(), collections.Counter())
    print(f"{agent}: {len(results)} cases: " + ", ".join(f"{n} {verdict}" for verdict, n in total.most_common()))
    for section, verdicts in sorted(sections.items()):
        print(f"  section {section}: " + ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common()))
    bad += [f"{case}: not run" for case in sorted(wanted - results.keys())]
for line in bad:
    print("NOT GOOD", line)
sys.exit(bool(bad) or not wanted)
