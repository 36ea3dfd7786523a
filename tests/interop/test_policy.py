#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The policy evaluator against a small model of it, written from docs/formats/policy.md.

    test_policy.py BUILD [PAIRS]

Random policies and requests (100,000 pairs by default): same verdict and reason. And what
must never happen: that adding a forbid, taking away a permit or an approval, shuffling
rules and sources, or adding a source turns a deny into a permit (the last but for permits
that ask for a least number of sources).
"""
import copy
import json
import os
import random
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone

KEYS = [f"{i:064x}" for i in range(1, 6)]
ROLES = {"approver": KEYS[:3], "release": KEYS[3:]}
ACTIONS = ["lock", "unlock", "merge", "extract", "redistribute"]
METHODS = ["linear", "ties", "slerp"]
LICENSES = ["apache-2.0", "mit", "MIT", "llama3"]
TAGS = ["internal", "open"]
START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def moment(day):
    return (START + timedelta(days=day)).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro(text):
    whole, _, part = text.partition(".")
    return int(whole) * 10**6 + int((part + "000000")[:6])


def random_models(rng):
    models = {}
    for i in range(6):
        m = {"root": f"{rng.getrandbits(256):064x}"}
        if rng.random() < 0.97:
            m["signer"] = rng.choice(KEYS)
        if rng.random() < 0.8:
            m["license"] = rng.choice(LICENSES)
        if rng.random() < 0.5:
            m["tags"] = rng.sample(TAGS, rng.randint(1, 2))
        if models and rng.random() < 0.5:
            m["ancestors"] = rng.sample(sorted(models), 1)
        if rng.random() < 0.04:
            m["lineage_known"] = False
        models[f"m{i}"] = m
    return models


def random_when(rng, forbid):
    when = {}
    for key, make, in_forbid in (
            ("methods", lambda: rng.sample(METHODS, 2), True),
            ("purpose", lambda: ["research"], True),
            ("not_before", lambda: moment(rng.randint(0, 40)), True),
            ("not_after", lambda: moment(rng.randint(20, 80)), True),
            ("licenses_allowed", lambda: rng.sample(LICENSES, 2), False),
            ("licenses_denied", lambda: rng.sample(LICENSES, 1), False),
            ("cosources_signed_by", lambda: rng.sample(KEYS, 3), False),
            ("output_license", lambda: rng.choice(LICENSES), False),
            ("output_lock", lambda: rng.choice(["none", "required"]), False),
            ("max_weight", lambda: rng.choice(["0.5", "0.25", "1", "0.000001"]), False),
            ("min_sources", lambda: str(rng.randint(1, 3)), False),
            ("max_sources", lambda: str(rng.randint(1, 3)), False),
            ("approvals", lambda: {"role": rng.choice(list(ROLES)),
                                   "threshold": str(rng.randint(1, 2)),
                                   "distinct_from": "requester"}, False)):
        if rng.random() < 0.09 and (in_forbid or not forbid):
            when[key] = make()
    return when


def random_rule(rng, models, i, forbid):
    roots = [m["root"] for m in models.values()]
    subjects = ["anyone", "role:approver", "role:release"] + ["key:" + k for k in KEYS]
    resources = ["tag:" + t for t in TAGS] + ["model:sha256:" + r for r in roots] + \
        ["lineage:sha256:" + r for r in roots]
    rule = {"id": f"r{i}", "effect": "forbid" if forbid else "permit",
            "subjects": rng.sample(subjects, rng.randint(1, 4)),
            "actions": rng.sample(ACTIONS, rng.randint(1, 5)),
            "resources": rng.sample(resources, rng.randint(1, 10))}
    when = random_when(rng, forbid)
    if when:
        rule["when"] = when
    return rule


def random_policy(rng, models):
    rules = [random_rule(rng, models, i, rng.random() < 0.12)
             for i in range(rng.randint(1, 8))]
    if rng.random() < 0.7:      # else hardly anything is permitted
        rules.append({"id": "open", "effect": "permit", "subjects": ["anyone"],
                      "actions": ACTIONS,
                      "resources": ["lineage:sha256:" + m["root"] for m in models.values()],
                      **({"when": w} if (w := random_when(rng, False)) else {})})
    return {"type": "weightward.policy/1", "id": "p", "version": "1",
            "issued": moment(rng.choice([0, 0, 0, 10])), "expires": moment(90),
            "rules": rules}


def random_case(rng, models, n):
    sources = rng.sample(sorted(models), rng.randint(1, 3))
    request = {"type": "weightward.request/1", "action": rng.choice(ACTIONS), "nonce": "1",
               "time": moment(rng.randint(0, 50)),
               "sources": [{"model": "sha256:" + models[s]["root"],
                            "weight": rng.choice(["0.25", "0.5", "1", "0.000002"])}
                           for s in sources]}
    if rng.random() < 0.9:
        request["method"] = rng.choice(METHODS)
    if rng.random() < 0.7:
        request["purpose"] = rng.choice(["research", "sale"])
    if rng.random() < 0.8:
        request["output"] = {"license": rng.choice(LICENSES), "locked": rng.random() < 0.6}
    case = {"name": f"c{n}", "request": json.dumps(request), "requester": rng.choice(KEYS),
            "now": moment(rng.choice([30, 50, 50, 60, 89, 90]))}
    approvals = [rng.choice(KEYS) for _ in range(rng.randint(0, 4))]
    if approvals:
        case["approvals"] = sorted(set(approvals))
    return case


def lineage(models, name):
    out = []
    for a in models[name].get("ancestors", []):
        out += [a] + lineage(models, a)
    return out


def listed(model, licenses):
    return model.get("license", "").lower() in [x.lower() for x in licenses]


def oracle(table, policy, case):
    """The documented rules, plainly."""
    models, request = table["models"], json.loads(case["request"])
    by_root = {m["root"]: n for n, m in models.items()}
    named = [by_root[s["model"][7:]] for s in request["sources"]]
    gone = {(r["kind"], r["id"]) for r in table.get("revoked", [])}
    who, now = case["requester"], case["now"]
    if request["time"] > now:
        return "deny request-does-not-fit"
    if ("key", who) in gone:
        return "deny revoked"
    if now < policy["issued"]:
        return "deny clock-before-issue"
    if now >= policy["expires"]:
        return "deny policy-expired"
    if ("policy", policy["id"]) in gone:
        return "deny revoked"
    asked = [(i, m) for i, s in enumerate(named) for m in [s] + lineage(models, s)]
    for _, m in asked:
        facts = models[m]
        if "signer" not in facts:
            return "deny unsigned-source"
        if not facts.get("lineage_known", True):
            return "deny lineage-unknown"
        if ("model", facts["root"]) in gone or ("key", facts["signer"]) in gone:
            return "deny revoked"

    def covers(rule, m):
        subject = any(s == "anyone" or s == "key:" + who or
                      (s.startswith("role:") and who in ROLES.get(s[5:], []))
                      for s in rule["subjects"])
        mine = models[m]
        tree = [mine["root"]] + [models[a]["root"] for a in lineage(models, m)]
        resource = any(r == "model:sha256:" + mine["root"] or
                       (r.startswith("lineage:sha256:") and r[15:] in tree) or
                       (r.startswith("tag:") and r[4:] in mine.get("tags", []))
                       for r in rule["resources"])
        return request["action"] in rule["actions"] and subject and resource

    def holds(rule, i):
        w = rule.get("when", {})
        others = [models[m] for j, m in enumerate(named) if j != i]
        output = request.get("output", {})
        approvals = w.get("approvals")
        return all((
            "methods" not in w or request.get("method") in w["methods"],
            "purpose" not in w or request.get("purpose") in w["purpose"],
            now >= w.get("not_before", ""),
            "not_after" not in w or now <= w["not_after"],
            "licenses_allowed" not in w or
            all(listed(m, w["licenses_allowed"]) for m in others),
            "licenses_denied" not in w or
            all("license" in m and not listed(m, w["licenses_denied"]) for m in others),
            "cosources_signed_by" not in w or
            all(m["signer"] in w["cosources_signed_by"] for m in others),
            "output_license" not in w or output.get("license") == w["output_license"],
            w.get("output_lock") != "required" or output.get("locked", False),
            "max_weight" not in w or
            micro(request["sources"][i]["weight"]) <= micro(w["max_weight"]),
            len(named) >= int(w.get("min_sources", 0)),
            "max_sources" not in w or len(named) <= int(w["max_sources"]),
            approvals is None or
            len({k for k in case.get("approvals", []) if k != who and
                 k in ROLES.get(approvals["role"], []) and ("key", k) not in gone})
            >= int(approvals["threshold"])))

    for i, m in asked:
        if any(r["effect"] == "forbid" and covers(r, m) and holds(r, i)
               for r in policy["rules"]):
            return "deny forbidden"
    for i, m in asked:
        if not any(r["effect"] == "permit" and covers(r, m) and holds(r, i)
                   for r in policy["rules"]):
            return "deny no-permit"
    return "permit permitted"


def run(build, out, table, policy):
    paths = [os.path.join(out, n) for n in ("table.json", "policy.json")]
    for path, document in zip(paths, (table, policy)):
        with open(path, "w") as f:
            json.dump(document, f)
    done = subprocess.run([os.path.join(build, "policy_probe"), *paths], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.splitlines()


def shuffled(rng, policy, table):
    policy, table = copy.deepcopy(policy), copy.deepcopy(table)
    rng.shuffle(policy["rules"])
    for case in table["cases"]:
        request = json.loads(case["request"])
        rng.shuffle(request["sources"])
        case["request"] = json.dumps(request)
    return policy, table


def never_widens(rng, build, out, table, policy, verdicts):
    """Changes that may only take away; returns what went wrong."""
    bad = []

    def compare(name, new_policy, new_table):
        for case, before, after in zip(table["cases"], verdicts,
                                       run(build, out, new_table, new_policy)):
            if before.startswith("deny") and after.startswith("permit"):
                bad.append(f"{name}: {case['name']}")

    more = copy.deepcopy(policy)
    more["rules"].append(random_rule(rng, table["models"], "x", True))
    compare("a forbid added", more, table)
    permits = [r for r in policy["rules"] if r["effect"] == "permit"]
    if permits and len(policy["rules"]) > 1:
        fewer = copy.deepcopy(policy)
        fewer["rules"].remove(rng.choice(permits))
        compare("a permit removed", fewer, table)
    alone = copy.deepcopy(table)
    for case in alone["cases"]:
        if case.get("approvals"):
            case["approvals"] = case["approvals"][1:]
            if not case["approvals"]:
                del case["approvals"]
    compare("an approval removed", policy, alone)
    if not any("min_sources" in r.get("when", {}) for r in policy["rules"]):
        wider = copy.deepcopy(table)
        for case in wider["cases"]:
            request = json.loads(case["request"])
            has = {s["model"] for s in request["sources"]}
            left = [m["root"] for m in table["models"].values()
                    if "sha256:" + m["root"] not in has]
            request["sources"].append({"model": "sha256:" + rng.choice(left),
                                       "weight": "0.25"})
            case["request"] = json.dumps(request)
        compare("a source added", policy, wider)
    return bad


def main(build, pairs):
    rng = random.Random(20261125)
    per = 500
    counts, bad = {}, []
    with tempfile.TemporaryDirectory() as out:
        for n in range(pairs // per):
            models = random_models(rng)
            policy = random_policy(rng, models)
            table = {"type": "weightward.policy-test/1", "roles": ROLES, "models": models,
                     "cases": [random_case(rng, models, i) for i in range(per)]}
            if rng.random() < 0.3:
                table["revoked"] = [rng.choice((
                    {"kind": "key", "id": rng.choice(KEYS)},
                    {"kind": "model", "id": rng.choice(list(models.values()))["root"]},
                    {"kind": "policy", "id": rng.choice(["p", "q"])}))]
            verdicts = run(build, out, table, policy)
            for case, got in zip(table["cases"], verdicts):
                want = oracle(table, policy, case)
                counts[want] = counts.get(want, 0) + 1
                if got != want:
                    bad.append(f"table {n}, {case['name']}: {got}, the model says {want}")
            # Which model is named first may decide the reason, never the verdict.
            again = run(build, out, *reversed(shuffled(rng, policy, table)))
            bad += [f"table {n}: order matters: {a} and {b}"
                    for a, b in zip(verdicts, again) if a.split()[0] != b.split()[0]]
            if n % 4 == 0:
                bad += never_widens(rng, build, out, table, policy, verdicts)
    for line in bad[:20]:
        print("FAIL", line)
    print(f"{sum(counts.values())} pairs:", ", ".join(f"{v} {k}" for k, v in
                                                      sorted(counts.items())))
    if min(counts.get(k, 0) for k in ("permit permitted", "deny forbidden", "deny no-permit",
                                      "deny revoked")) < pairs // 200:
        bad.append("too few of some verdict to mean anything")
        print("FAIL", bad[-1])
    print(f"{len(bad)} failed" if bad else "all passed")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100000))
