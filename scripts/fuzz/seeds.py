#!/usr/bin/env python3
"""Seeds as lines of a text file, and as the files of a folder that a fuzzer reads.

    seeds.py unpack TEXT FOLDER      a file for each line
    seeds.py show FILE...            the line of each file, to be added to tests/fuzz/seeds/<target>.txt
    seeds.py targets                 the names of all targets
"""
import hashlib
import pathlib
import re
import sys

SEEDS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fuzz" / "seeds"


def unescaped(line):
    text = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), line.encode())
    return text


def escaped(data):
    line = "".join(chr(byte) if 32 <= byte < 127 and byte != 92 else f"\\x{byte:02x}" for byte in data)
    return "\\x23" + line[1:] if line.startswith("#") else line


def main(what, *arguments):
    if what == "targets":
        print("\n".join(sorted(path.stem for path in SEEDS.glob("*.txt"))))
    elif what == "unpack":
        text, folder = (pathlib.Path(argument) for argument in arguments)
        folder.mkdir(parents=True, exist_ok=True)
        for line in text.read_text().splitlines():
            if not line.startswith("#"):
                seed = unescaped(line)
                (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    elif what == "show":
        for path in arguments:
            print(escaped(pathlib.Path(path).read_bytes()))


if __name__ == "__main__":
    main(*sys.argv[1:])
