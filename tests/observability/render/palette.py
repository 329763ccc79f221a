"""Makes a screenshot small: the same PNG with a palette of 256 colours."""

from __future__ import annotations

import zlib

import numpy as np

COLORS = 256


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(png):
        size = int.from_bytes(png[at:at + 4], "big")
        found.append((png[at + 4:at + 8], png[at + 8:at + 8 + size]))
        at += 12 + size
    return found


def pixels_of(png: bytes) -> np.ndarray:
    """[height, width, 3]. For what browsers write: 8 bits, RGB or RGBA, not interlaced."""
    parts = chunks(png)
    header = dict(parts)[b"IHDR"]
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    depth, kind, interlaced = header[8], header[9], header[12]
    if depth != 8 or kind not in (2, 6) or interlaced:
        raise ValueError(f"a PNG of depth {depth} and colour type {kind} is not expected")
    step = 3 if kind == 2 else 4
    data = zlib.decompress(b"".join(body for name, body in parts if name == b"IDAT"))
    rows = np.frombuffer(data, np.uint8).reshape(height, 1 + width * step)
    above = np.zeros(width * step, np.uint8)
    pixels = np.empty((height, width * step), np.uint8)
    for number, row in enumerate(rows):
        above = pixels[number] = unfiltered(int(row[0]), row[1:], above, step)
    return pixels.reshape(height, width, step)[:, :, :3]


def unfiltered(kind: int, row: np.ndarray, above: np.ndarray, step: int) -> np.ndarray:
    """The filters of PNG: none, left, up, average, Paeth."""
    if kind == 0:
        return row
    if kind == 1:
        return np.add.accumulate(row.reshape(-1, step), axis=0, dtype=np.uint8).reshape(-1)
    if kind == 2:
        return row + above
    result, up = row.astype(np.int32), above.astype(np.int32)
    for at in range(len(result)):
        left = int(result[at - step]) if at >= step else 0
        corner = int(up[at - step]) if at >= step else 0
        if kind == 3:
            guess = (left + int(up[at])) // 2
        else:
            distance = [abs(int(up[at]) - corner), abs(left - corner),
                        abs(left + int(up[at]) - 2 * corner)]
            guess = (left, int(up[at]), corner)[distance.index(min(distance))]
        result[at] = (result[at] + guess) & 255
    return result.astype(np.uint8)


def with_palette(png: bytes) -> bytes:
    pixels = pixels_of(png)
    height, width, _ = pixels.shape
    flat = pixels.reshape(-1, 3).astype(np.int32)
    keys = flat[:, 0] << 16 | flat[:, 1] << 8 | flat[:, 2]
    unique, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    colors = np.stack([unique >> 16, unique >> 8 & 255, unique & 255], axis=1)
    palette = colors[np.argsort(-counts)[:COLORS]]
    nearest = np.empty(len(unique), np.uint8)
    for begin in range(0, len(unique), 4096):
        part = colors[begin:begin + 4096, None, :] - palette[None, :, :]
        nearest[begin:begin + 4096] = (part * part).sum(axis=2).argmin(axis=1)
    indices = nearest[inverse].reshape(height, width)
    rows = np.zeros((height, 1 + width), np.uint8)
    rows[:, 1:] = indices
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 3, 0, 0, 0])
    made = [(b"IHDR", header), (b"PLTE", palette.astype(np.uint8).tobytes()),
            (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]  # fmt: skip
    return png[:8] + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in made)
