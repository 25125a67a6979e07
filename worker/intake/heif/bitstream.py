"""How large the frames in AV1 and HEVC data are.

The decoders allocate by the sizes in here, and not by those that the container declares.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from worker.intake.container import corrupt

MAX_UNITS = 10_000
"""OBUs or NAL units of one image."""
MAX_FRAMES = 32
"""Frames of one image. It has one, or one per layer; hidden ones serve only to occupy a worker."""

Size = tuple[int, int]


class _Bits:
    """Reads numbers bit by bit. Raises `IndexError` at the end of the data."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            byte = self._data[self._position >> 3]
            value = value << 1 | byte >> (7 - (self._position & 7)) & 1
            self._position += 1
        return value

    def exponential(self) -> int:
        """An unsigned Exp-Golomb number: HEVC's ue(v), AV1's uvlc()."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:
                raise corrupt("a number in the coded image is longer than 32 bits")
        return (1 << zeros) - 1 + self.take(zeros)


@dataclass(frozen=True)
class _Sequence:
    """What an AV1 sequence header says of the frames' sizes."""

    size: Size
    largest: Size
    """What a frame that overrides `size` can have."""
    reduced: bool
    time_bits: int
    """Bits of the presentation time that a frame header begins with; 0 without one."""
    screen_content: int
    integer_mv: int
    """Of these two: 0 or 1 for all frames, 2 if each frame decides."""
    id_bits: int


def av1_frame_sizes(data: memoryview, _: bytes) -> list[Size]:
    """Width and height of each frame in the OBUs of an image, as the sequence header gives it.

    A frame that overrides the size counts as the largest one that the sequence header has bits for.
    """
    sizes: list[Size] = []
    sequence: _Sequence | None = None
    for kind, body in _obus(data):
        if kind == 1:
            sequence = _sequence_header(_Bits(body))
        elif kind in (3, 6) and sequence:
            size = _frame_size(_Bits(body), sequence)
            sizes += [size] if size else []
            if len(sizes) > MAX_FRAMES:
                raise corrupt(f"the image has more than {MAX_FRAMES} frames")
    return sizes


def _obus(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type and body of each open bitstream unit."""
    position = 0
    for _ in range(MAX_UNITS):
        if position >= len(data):
            return
        header = data[position]
        position += 2 if header & 4 else 1
        length = len(data) - position
        if header & 2:
            length = 0
            for shift in range(0, 56, 7):
                byte = data[position]
                position += 1
                length |= (byte & 0x7F) << shift
                if not byte & 0x80:
                    break
        yield header >> 3 & 15, data[position : position + length]
        position += length
    raise corrupt(f"the image has more than {MAX_UNITS} units")


def _sequence_header(bits: _Bits) -> _Sequence:
    """AV1 specification, section 5.5."""
    bits.take(4)
    reduced = bool(bits.take(1))
    time_bits = 0
    if reduced:
        bits.take(5)
    else:
        delay_bits = equal_intervals = 0
        has_model = False
        if bits.take(1):
            bits.take(64)
            equal_intervals = bits.take(1)
            if equal_intervals:
                bits.exponential()
            has_model = bool(bits.take(1))
            if has_model:
                delay_bits = bits.take(5) + 1
                bits.take(37)
                time_bits = 0 if equal_intervals else bits.take(5) + 1
                bits.take(5 * equal_intervals)
        has_delays = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if has_model and bits.take(1):
                bits.take(2 * delay_bits + 1)
            if has_delays and bits.take(1):
                bits.take(4)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    size = bits.take(width_bits) + 1, bits.take(height_bits) + 1
    largest = 1 << width_bits, 1 << height_bits
    if reduced:
        return _Sequence(size, largest, reduced, 0, 2, 2, 0)
    id_bits = bits.take(4) + 2 + bits.take(3) + 1 if bits.take(1) else 0
    bits.take(7)
    if bits.take(1):
        bits.take(2)
    screen_content = 2 if bits.take(1) else bits.take(1)
    integer_mv = 2
    if screen_content and not bits.take(1):
        integer_mv = bits.take(1)
    return _Sequence(size, largest, reduced, time_bits, screen_content, integer_mv, id_bits)


def _frame_size(bits: _Bits, sequence: _Sequence) -> Size | None:
    """AV1 specification, section 5.9.2, up to the flag that overrides the size. None if an earlier frame is shown."""
    if sequence.reduced:
        return sequence.size
    if bits.take(1):
        return None
    kind, shown = bits.take(2), bits.take(1)
    bits.take(sequence.time_bits if shown else 1)
    if kind != 3 and not (kind == 0 and shown):
        bits.take(1)
    bits.take(1)
    screen_content = bits.take(1) if sequence.screen_content == 2 else sequence.screen_content
    if screen_content and sequence.integer_mv == 2:
        bits.take(1)
    bits.take(sequence.id_bits)
    return sequence.largest if kind == 3 or bits.take(1) else sequence.size


MAX_ARRAYS = 16
"""Kinds of parameter sets in one configuration. There are three, and a few more with supplemental information."""

_SPS = 33
_ALIGNMENT = 63
"""Columns and rows that HEVC encoders add to fill their coding blocks, and that are cropped again."""


def hevc_frame_sizes(data: memoryview, configuration: bytes) -> list[Size]:
    """Width and height of each picture in the NAL units of an image, as the sequence parameter sets give it.

    The blocks' alignment is not counted. Each picture counts as the largest of the parameter sets.
    """
    units = [*_parameter_sets(configuration), *_nal_units(data, (configuration[21] & 3) + 1)]
    sizes = [_picture_size(unit) for unit in units if len(unit) > 2 and unit[0] >> 1 & 63 == _SPS]
    pictures = sum(len(unit) > 2 and unit[0] >> 1 & 63 < 32 and unit[2] >= 128 for unit in units)
    if pictures > MAX_FRAMES:
        raise corrupt(f"the image has more than {MAX_FRAMES} frames")
    largest = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    return [(max(1, largest[0] - _ALIGNMENT), max(1, largest[1] - _ALIGNMENT))] * pictures


def _parameter_sets(configuration: bytes) -> Iterator[memoryview]:
    """The NAL units in an `hvcC` box."""
    view, position = memoryview(configuration), 23
    for _ in range(min(configuration[22], MAX_ARRAYS)):
        (count,) = struct.unpack_from(">H", configuration, position + 1)
        position += 3
        if count > MAX_UNITS:
            raise corrupt(f"the image has more than {MAX_UNITS} units")
        for _ in range(count):
            (length,) = struct.unpack_from(">H", configuration, position)
            yield view[position + 2 : position + 2 + length]
            position += 2 + length


def _nal_units(data: memoryview, length_bytes: int) -> Iterator[memoryview]:
    position = 0
    for _ in range(MAX_UNITS):
        if position + length_bytes >= len(data):
            return
        length = int.from_bytes(data[position : position + length_bytes], "big")
        position += length_bytes
        yield data[position : position + length]
        position += length
    raise corrupt(f"the image has more than {MAX_UNITS} units")


def _picture_size(unit: memoryview) -> Size:
    """Of a sequence parameter set: HEVC specification, section 7.3.2.2."""
    bits = _Bits(bytes(unit[2:1000]).replace(b"\x00\x00\x03", b"\x00\x00"))
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 96)
    flags = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    bits.take(2 * (8 - layers) if layers else 0)
    for has_profile, has_level in flags:
        bits.take(88 * has_profile + 8 * has_level)
    bits.exponential()
    if bits.exponential() == 3:
        bits.take(1)
    return bits.exponential(), bits.exponential()
