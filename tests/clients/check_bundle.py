"""Verifies a bundle of `audit prove` with hashlib and openssl only, without code of the gateway, and prints the entry
that it proves, decoded from the entry's own bytes.

Usage: check_bundle.py BUNDLE --log-key K. K is the log's verifier key, or a file that has it; it comes from the log's
operator, never from whoever gave the bundle. Exits with 0 if the bundle proves what it says, or with 1 after one line
that says what is wrong.
"""
import argparse
import json
import pathlib

import audit_entry
from tlog import Invalid, decimal, open_checkpoint, read_keys, root_of, run, sha256, unbase64

MAX_BYTES = 256 << 10
RECEIPT = ["exchange_id", "index", "tree_size", "entry", "inclusion_proof", "checkpoint"]


def members(pairs):
    """Makes an object; a name that is given twice is refused, because a reader may see either value."""
    found = {}
    for name, value in pairs:
        if name in found:
            raise Invalid(f"{name}: given twice")
        found[name] = value
    return found


def no_number(name):
    raise Invalid(f"not JSON: {name}")


def parse(data):
    if len(data) > MAX_BYTES:
        raise Invalid(f"larger than {MAX_BYTES >> 10} KiB")
    try:
        return json.loads(data.decode(), object_pairs_hook=members, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"not JSON: {error}") from None


def difference(proved, found, path):
    """Returns the first value that differs from what is proved, by its path."""
    if type(proved) is not type(found):
        return f"{path}: differs from the entry that is proved"
    if isinstance(proved, dict):
        dot = f"{path}." if path else ""
        for name in found:
            if name not in proved:
                return f"{dot}{name}: not in the entry that is proved"
        pairs = [(f"{dot}{name}", proved[name], found.get(name)) for name in proved]
    elif isinstance(proved, list) and len(proved) == len(found):
        pairs = [(f"{path}[{place}]", *pair) for place, pair in enumerate(zip(proved, found))]
    else:
        return None if proved == found else f"{path}: differs from the entry that is proved"
    return next((fault for name, *pair in pairs if (fault := difference(*pair, name))), None)


def check(data, keys):
    """Verifies a bundle; returns what it proves, as text."""
    bundle = parse(data)
    receipt = bundle.get("receipt") if isinstance(bundle, dict) else None
    if not isinstance(receipt, dict):
        raise Invalid("receipt: missing")
    encoded, note, hashes = receipt.get("entry"), receipt.get("checkpoint"), receipt.get("inclusion_proof", [])
    if not isinstance(note, str) or not isinstance(hashes, list):
        raise Invalid("receipt: no checkpoint, or no proof")
    origin, size, root = open_checkpoint(note, keys)
    index, entry = decimal(receipt.get("index", "0"), "receipt.index"), unbase64(encoded, "receipt.entry")
    proof = [unbase64(each, "receipt.inclusion_proof") for each in hashes]
    if any(len(each) != 32 for each in proof):
        raise Invalid("receipt.inclusion_proof: a hash is not of 32 bytes")
    if root_of(sha256(b"\x00" + entry), index, size, proof) != root:
        raise Invalid("the entry is not in the signed tree: the proof leads to another root")
    shown = audit_entry.decode(entry)
    # What the bundle must be: all of it follows from entry, index, proof and checkpoint. Zero and empty are left out.
    values = [shown.get("exchange_id"), str(index) if index else None, str(size), encoded, hashes or None, note]
    proved = {name: value for name, value in zip(RECEIPT, values) if value is not None}
    fault = difference({"entry": shown, "receipt": proved}, bundle, "")
    if fault:
        raise Invalid(fault)
    lines = [f"proved: entry {index} of the log {origin}, in its signed tree of {size} entries"]
    compact = {"ensure_ascii": False, "sort_keys": True, "separators": (",", ":")}
    return "\n".join(lines + [f"{name}: {json.dumps(shown[name], **compact)}" for name in sorted(shown)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("bundle", type=pathlib.Path)
    parser.add_argument("--log-key", required=True)
    arguments = parser.parse_args()
    keys = read_keys(arguments.log_key)
    with arguments.bundle.open("rb") as file:
        print(check(file.read(MAX_BYTES + 1), keys))


if __name__ == "__main__":
    run(main)
