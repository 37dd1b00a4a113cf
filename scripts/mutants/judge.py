#!/usr/bin/env python3
"""Makes a small crate of the rules and the proofs (src/domain, src/auth and what they stand on), in a folder of its own.

Building all of the program anew for every mutant would take hours: this crate holds what is mutated and the fast
tests that judge it, and nothing else. Its Cargo.toml is made of ours; so versions and features are the same.

    judge.py REPOSITORY FOLDER
"""
import pathlib
import re
import shutil
import sys
import tomllib

MODULES = ["auth", "clock", "config", "domain", "rate", "secret"]


def sources(root):
    for module in MODULES:
        path = root / "src" / module
        yield from [path.with_suffix(".rs")] if path.with_suffix(".rs").exists() else sorted(path.rglob("*.rs"))


def spelled(value):
    """A TOML value on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {spelled(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(spelled(inner) for inner in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else '"' + value + '"'


def main(repository, folder):
    root, to = pathlib.Path(repository), pathlib.Path(folder)
    shutil.rmtree(to / "src", ignore_errors=True)
    shutil.rmtree(to / "cluster", ignore_errors=True)
    shutil.copytree(root / "cluster", to / "cluster")
    text = ""
    for path in sources(root):
        text += path.read_text()
    for module in MODULES:
        path = root / "src" / module
        if path.is_dir():
            shutil.copytree(path, to / "src" / module)
        else:
            shutil.copy(path.with_suffix(".rs"), to / "src" / f"{module}.rs")
    modules = "".join(f"pub mod {module};\n" for module in MODULES)
    (to / "src" / "lib.rs").write_text("//! The rules and the proofs, to be mutated.\n\n" + modules)
    shutil.copy(root / "Cargo.lock", to / "Cargo.lock")

    ours = tomllib.loads((root / "Cargo.toml").read_text())
    used = lambda name: re.search(rf"\b{name.replace('-', '_')}(::|;)", text)
    lines = ["[workspace]", 'members = ["cluster"]', 'resolver = "3"', "[workspace.package]"]
    lines += [f"{key} = {spelled(value)}" for key, value in ours["workspace"]["package"].items()]
    lines += ["[workspace.dependencies]"]
    lines += [f"{key} = {spelled(value)}" for key, value in ours["workspace"]["dependencies"].items()]
    # What the compiler warns of is for CI to see.
    lines += ["[workspace.lints.rust]", "[package]", 'name = "conclave"', 'version = "0.0.0"', 'edition = "2024"']
    lines += ["publish = false", "[features]", "testing = []", "previous-level = []", "[dependencies]"]
    lines += [f"{name}.workspace = true" for name in ours["dependencies"] if used(name)]
    lines += ["[dev-dependencies]"]
    for name, value in ours["dev-dependencies"].items():
        if name != "conclave" and (used(name) or name == "tokio"):
            lines.append(f"{name} = {spelled(value)}")
    lines += ["[profile.dev]", "debug = false"]
    for name, value in ours["profile"]["dev"]["package"].items():
        lines += [f"[profile.dev.package.{name}]", *(f"{key} = {spelled(inner)}" for key, inner in value.items())]
    (to / "Cargo.toml").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
