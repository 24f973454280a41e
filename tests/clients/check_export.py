"""Verifies an export of `audit export` without code of the gateway: every file of it follows from its entries, which
are those of the signed tree.

Usage: check_export.py FOLDER --log-key K [--earlier CHECKPOINT ...]. K is the log's verifier key, or a file that has
it. Each CHECKPOINT is a file with an earlier checkpoint of the log, which must be of the beginning of the same tree.
Exits with 0 if all agree, or with 1 after one line that says what does not.
"""
import argparse
import pathlib

from tlog import Invalid, open_checkpoint, read_keys, read_text, run, sha256, tree_root

WIDTH = 256


def tile_path(kind, number, width):
    """Returns the path of a tile (C2SP tlog-tiles): three digits per folder, all but the last with an x; partial:
    `.p/width`."""
    digits = f"{number:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    path = "/".join(["tile", kind] + [f"x{part}" for part in parts[:-1]] + [parts[-1]])
    return path if width == WIDTH else f"{path}.p/{width}"


def entries(bundle):
    while bundle:
        size = int.from_bytes(bundle[:2], "big")
        if len(bundle) < 2 + size:
            raise Invalid("a file of entries ends within one")
        yield bundle[2 : 2 + size]
        bundle = bundle[2 + size :]


def check(folder, keys):
    """Verifies an export; returns what its tree is of, and its leaf hashes."""
    origin, size, root = open_checkpoint(read_text(folder / "checkpoint"), keys)
    expected, leaves = {"checkpoint"}, []
    for first in range(0, size, WIDTH):
        path = tile_path("entries", first // WIDTH, min(WIDTH, size - first))
        expected.add(path)
        leaves += [sha256(b"\x00" + entry) for entry in entries((folder / path).read_bytes())]
    if len(leaves) != size or tree_root(leaves) != root:
        raise Invalid(f"the entries are not those of the signed tree of {size}")
    level, hashes = 0, leaves
    while hashes:
        for first in range(0, len(hashes), WIDTH):
            tile = hashes[first : first + WIDTH]
            path = tile_path(str(level), first // WIDTH, len(tile))
            expected.add(path)
            if (folder / path).read_bytes() != b"".join(tile):
                raise Invalid(f"{path}: does not follow from the entries")
        full = len(hashes) // WIDTH * WIDTH
        hashes = [tree_root(hashes[first : first + WIDTH]) for first in range(0, full, WIDTH)]
        level += 1
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if found != expected:
        raise Invalid(f"{min(found ^ expected)}: not a file of an export of {size} entries")
    return origin, leaves


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--log-key", required=True)
    parser.add_argument("--earlier", nargs="*", default=[], type=pathlib.Path)
    arguments = parser.parse_args()
    keys = read_keys(arguments.log_key)
    origin, leaves = check(arguments.folder, keys)
    for path in arguments.earlier:
        _, size, root = open_checkpoint(read_text(path), keys)
        if size > len(leaves) or tree_root(leaves[:size]) != root:
            raise Invalid(f"{path}: not a checkpoint of the same tree")
    print(f"verified: the {len(leaves)} entries of the log {origin}")


if __name__ == "__main__":
    run(main)
