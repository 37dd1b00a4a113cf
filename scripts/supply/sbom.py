#!/usr/bin/env python3
"""The bill of materials of the program, as CycloneDX 1.5: every crate that is built in, with its checksum and licence.

The same lock file gives the same text: there is no time and no number of chance in it.
"""
import json
import pathlib
import subprocess
import tomllib
import uuid

TARGET = "x86_64-unknown-linux-gnu"


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET]
    metadata = json.loads(subprocess.run(command, cwd=root, check=True, capture_output=True).stdout)
    lock = (root / "Cargo.lock").read_bytes()
    sums = {(one["name"], one["version"]): one.get("checksum") for one in tomllib.loads(lock.decode())["package"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    ours = next(id for id, package in packages.items() if package["name"] == "conclave")

    # What only tests ask for is not in the program.
    built, waiting, edges = set(), [ours], {}
    while waiting:
        id = waiting.pop()
        if id in built:
            continue
        built.add(id)
        edges[id] = [
            dep["pkg"] for dep in nodes[id]["deps"]
            if any(kind["kind"] in (None, "build") for kind in dep["dep_kinds"]) and dep["pkg"] != id
        ]
        waiting += edges[id]

    def reference(id):
        return f"pkg:cargo/{packages[id]['name']}@{packages[id]['version']}"

    def component(id):
        package = packages[id]
        found = {
            "type": "application" if id == ours else "library",
            "bom-ref": reference(id),
            "name": package["name"],
            "version": package["version"],
            "purl": reference(id),
        }
        if package.get("license"):
            found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        checksum = sums.get((package["name"], package["version"]))
        if checksum:
            found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        return found

    order = sorted(built, key=reference)
    print(json.dumps({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, lock.hex())}",
        "version": 1,
        "metadata": {"component": component(ours)},
        "components": [component(id) for id in order if id != ours],
        "dependencies": [
            {"ref": reference(id), "dependsOn": sorted({reference(other) for other in edges[id]})} for id in order
        ],
    }, indent=1))


if __name__ == "__main__":
    main()
