"""Holds the files of a deployment against each other and against a node; see check.sh, which runs it.

usage: check.py PROJECT WORK

WORK holds what check.sh has gathered: manifests.yaml, compose.yaml (where Compose was there), metrics and settings of a
running node. Writes the dashboard's queries as rules, dashboard.yml. Prints what is wrong; fails if anything is.
"""

import json
import os
import re
import sys

import yaml

PROJECT, WORK = sys.argv[1:]
DEPLOY = os.path.join(PROJECT, "scripts", "deploy")
faults = []


def fault(text):
    faults.append(text)
    print(text, file=sys.stderr)


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


# What a node offers.
TEXT = read(WORK, "metrics")
SUFFIXES = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
# Nothing tells of them before there is something to tell: what the first backup, the first refusal by a limit brings.
LATER = {"conclave_backup_age_seconds", "conclave_rate_limited_total"}
METRICS = LATER | {
    name + suffix for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", TEXT, re.M) for suffix in SUFFIXES[kind]
}
LABELS = {}
for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", TEXT, re.M):
    LABELS.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
VARIABLES = set(re.findall(r"^# (CONCLAVE_\w+)", read(WORK, "settings"), re.M))

# Names of metrics in a query: ours, and no word of the language or label looks like them.
NAMES = re.compile(r"\b((?:conclave|http|auth|tokens)_\w+)(?:\{([^}]*)\})?")
# Added by whoever scrapes.
SCRAPED = {"job", "instance", "le"}


def check_query(place, query):
    for name, labels in NAMES.findall(query):
        if name not in METRICS:
            fault(f"{place}: no node has the metric {name}")
            continue
        # A family may have no sample yet, and then shows no label.
        for label in set(re.findall(r"(\w+)\s*[!=]", labels)) - SCRAPED:
            if LABELS.get(name) and label not in LABELS[name]:
                fault(f"{place}: {name} has no label {label}")


def check_alerts():
    tested = read(DEPLOY, "prometheus", "alerts_test.yml")
    rules = [rule for group in yaml.safe_load(read(DEPLOY, "prometheus", "alerts.yml"))["groups"] for rule in group["rules"]]
    for rule in rules:
        name = rule["alert"]
        check_query(name, rule["expr"])
        if f'alertname="{name}"' not in tested:
            fault(f"{name}: no test raises it")
        if rule["labels"]["severity"] not in ("page", "ticket"):
            fault(f"{name}: its severity is neither page nor ticket")
        check_runbook(name, rule["annotations"].get("runbook", ""))


def check_runbook(name, runbook):
    """Names a page of the guide, and where it names a part of one, a heading that is there."""
    page, _, part = runbook.partition("#")
    if not page.startswith("docs/operate/") or not os.path.exists(os.path.join(PROJECT, page)):
        return fault(f"{name}: there is no page {page!r}")
    headings = re.findall(r"^#+ (.*)$", read(PROJECT, page), re.M)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    if part and part not in anchors:
        fault(f"{name}: {page} has no part {part!r}")


def check_dashboard():
    dashboard = json.loads(read(DEPLOY, "grafana", "conclave.json"))
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    if len(ids) != len(set(ids)):
        fault("dashboard: two panels have one id")
    taken = {}
    rules = []
    for panel in panels:
        place = panel["gridPos"]
        for cell in ((x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])):
            if cell in taken or cell[0] >= 24:
                fault(f"dashboard: {panel['title']!r} overlaps {taken.get(cell, 'the edge')!r}")
                break
            taken[cell] = panel["title"]
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "5m").replace("$job", "conclave")
            check_query(f"dashboard, {panel['title']}", query)
            rules.append({"record": f"panel:{panel['id']}:{target['refId'].lower()}", "expr": query})
    with open(os.path.join(WORK, "dashboard.yml"), "w", encoding="utf-8") as file:
        yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)


def check_variables(place, names):
    for name in names:
        if name.startswith("CONCLAVE_") and name not in VARIABLES:
            fault(f"{place}: no node has the setting {name}")


def check_manifests():
    things = [thing for thing in yaml.safe_load_all(read(WORK, "manifests.yaml")) if thing]
    of_kind = {}
    for thing in things:
        of_kind.setdefault(thing["kind"], {})[thing["metadata"]["name"]] = thing
        if "namespace" in thing["metadata"]:
            fault(f"{thing['kind']}: names a namespace, which is for whoever applies it")
    spec = of_kind["StatefulSet"]["conclave"]["spec"]
    pod, labels = spec["template"]["spec"], spec["template"]["metadata"]["labels"]
    container = pod["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    check_variables("StatefulSet", environment)
    selectors = {
        "StatefulSet": spec["selector"]["matchLabels"],
        "PodDisruptionBudget": of_kind["PodDisruptionBudget"]["conclave"]["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": of_kind["NetworkPolicy"]["conclave"]["spec"]["podSelector"]["matchLabels"],
        **{name: service["spec"]["selector"] for name, service in of_kind["Service"].items()},
        **{f"spread {i}": each["labelSelector"]["matchLabels"] for i, each in enumerate(pod["topologySpreadConstraints"])},
    }
    for name, selector in selectors.items():
        if not selector.items() <= labels.items():
            fault(f"{name}: selects no pod of the StatefulSet")
    named = [port["targetPort"] for service in of_kind["Service"].values() for port in service["spec"]["ports"]]
    named += [container[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
    for port in named:
        if port not in ports:
            fault(f"manifests: the container has no port {port!r}")
    discover, port = environment["CONCLAVE_DISCOVER"].split(":")
    if discover.split(".")[0] != spec["serviceName"] or int(port) != ports["peers"]:
        fault("StatefulSet: looks for its peers elsewhere than the headless service leads")
    peers = of_kind["Service"][spec["serviceName"]]["spec"]
    if peers["clusterIP"] != "None" or not peers["publishNotReadyAddresses"]:
        fault("Service: nodes that are not ready would not find each other")
    if int(environment["CONCLAVE_DISCOVER_EXPECT"]) != spec["replicas"]:
        fault("StatefulSet: expects another number of nodes than it starts")
    if pod["serviceAccountName"] not in of_kind["ServiceAccount"]:
        fault("StatefulSet: there is no such service account")
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"] for volume in pod["volumes"]} | {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    if mounts != volumes:
        fault(f"StatefulSet: mounts {mounts}, has {volumes}")


def check_compose():
    if not os.path.exists(os.path.join(WORK, "compose.yaml")):
        return
    compose = yaml.safe_load(read(WORK, "compose.yaml"))
    nodes = compose["services"]
    listed = {address.strip() for node in nodes.values() for address in node["environment"]["CONCLAVE_DISCOVER"].split(",")}
    advertised = {node["environment"]["CONCLAVE_PEER_ADVERTISE"] for node in nodes.values()}
    if listed != advertised or len(advertised) != len(nodes):
        fault("compose: the nodes look for others than there are")
    for name, node in nodes.items():
        check_variables(f"compose, {name}", node["environment"])
        if node.get("privileged") or node["cap_drop"] != ["ALL"] or not node["read_only"] or node["user"].startswith("0"):
            fault(f"compose, {name}: has rights that it does not need")


check_alerts()
check_dashboard()
check_manifests()
check_compose()
check_variables("systemd", re.findall(r"\b(CONCLAVE_\w+)=", read(DEPLOY, "systemd", "conclave.service")))
check_variables("Dockerfile", re.findall(r"\b(CONCLAVE_\w+)=", read(PROJECT, "Dockerfile")))


def last_stage(name):
    text = read(PROJECT, name).split("FROM scratch")[1]
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return "\n".join(lines).replace("--from=build ", "").replace("/image/", "")


if last_stage("Dockerfile") != last_stage("Dockerfile.build"):
    fault("Dockerfile and Dockerfile.build end in different images")
sys.exit(1 if faults else 0)
