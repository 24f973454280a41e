"""Verifies an export of `audit export` without code of the gateway: every entry must be in the signed tree.

Usage: check_export.py FOLDER LOG_KEY. Exits with 0 if entries, tiles, root and signature agree, with 1 otherwise.
"""
import pathlib
import sys

from tlog import open_note, sha256


def tree(hashes):
    """Computes the Merkle tree hash (RFC 9162, section 2.1.1)."""
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\x01" + tree(hashes[:half]) + tree(hashes[half:]))


def tile(folder, kind, number, width):
    """Reads a tile (C2SP tlog-tiles): three digits per folder, all but the last with an x; partial: `.p/width`."""
    digits = f"{number:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    parts = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    path = folder / "tile" / kind / "/".join([f"x{part}" for part in parts[:-1]] + [parts[-1]])
    return (path if width == 256 else path.parent / f"{path.name}.p" / str(width)).read_bytes()


def entries(bundle):
    while bundle:
        size = int.from_bytes(bundle[:2], "big")
        yield bundle[2 : 2 + size]
        bundle = bundle[2 + size :]


folder, log_key = pathlib.Path(sys.argv[1]), sys.argv[2]
size, root = open_note((folder / "checkpoint").read_text(), log_key)
leaves = []
for first in range(0, size, 256):
    width = min(256, size - first)
    hashes = [sha256(b"\x00" + entry) for entry in entries(tile(folder, "entries", first // 256, width))]
    if b"".join(hashes) != tile(folder, "0", first // 256, width):
        sys.exit(1)
    leaves += hashes
sys.exit(0 if len(leaves) == size and tree(leaves) == root else 1)
