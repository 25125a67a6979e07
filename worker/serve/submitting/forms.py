"""A form with an image, parsed as it arrives: its fields are kept, the image's bytes are passed on."""

from __future__ import annotations

from collections.abc import Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from worker.errors import ErrorCode
from worker.serve.problems import RefusedError

IMAGE_FIELD = "image"
"""The part that is the image; any part with a file name is taken for it as well."""
MAX_FIELD = 65_536
"""Bytes of a field."""
MAX_FIELDS = 20


class FormReader:
    """Splits the body of a `multipart/form-data` request. Raises `RefusedError` for what is not one."""

    def __init__(self, content_type: str) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise _invalid("its Content-Type names no boundary")
        self.images = 0
        """Parts that are images, so far."""
        self._fields: dict[str, str] = {}
        self._name: str | None = None
        """Of the field that is being read; None while the part is the image."""
        self._value = bytearray()
        self._header = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._header_value = bytearray()
        self._pieces: list[bytes] = []
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._begin_content,
                    "on_part_data": self._take,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _invalid(str(error)) from None

    def feed(self, data: bytes) -> bytes:
        """What of the image is in the next bytes of the body."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _invalid(str(error)) from None
        taken, self._pieces = b"".join(self._pieces), []
        return taken

    def fields(self) -> Mapping[str, str]:
        """The other parts, once the body has ended."""
        if not self._ended:
            raise _invalid("it ends before its last boundary")
        return self._fields

    def _begin_part(self) -> None:
        self._headers = {}

    def _end_header(self) -> None:
        self._headers[bytes(self._header).lower()] = bytes(self._header_value)
        self._header.clear()
        self._header_value.clear()

    def _begin_content(self) -> None:
        options = parse_options_header(self._headers.get(b"content-disposition", b""))[1]
        name = options.get(b"name", b"").decode(errors="replace")
        if b"filename" in options or name == IMAGE_FIELD:
            self._name = None
            self.images += 1
            if self.images > 1:
                raise RefusedError(ErrorCode.TOO_MANY_ITEMS, "the form has more than one image; send one per request")
            return
        if name in self._fields or len(self._fields) >= MAX_FIELDS:
            raise RefusedError(ErrorCode.INVALID_MESSAGE, "the form has a field twice, or too many fields")
        self._name = name
        self._value.clear()

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._name is None:
            self._pieces.append(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > MAX_FIELD:
            raise RefusedError(ErrorCode.INVALID_MESSAGE, f"a field of the form is larger than {MAX_FIELD} bytes")

    def _end_part(self) -> None:
        if self._name is not None:
            try:
                self._fields[self._name] = self._value.decode()
            except UnicodeDecodeError:
                raise RefusedError(ErrorCode.INVALID_MESSAGE, "a field of the form is not UTF-8") from None

    def _end(self) -> None:
        self._ended = True


def _invalid(why: str) -> RefusedError:
    return RefusedError(ErrorCode.INVALID_MULTIPART, f"the body is not valid multipart/form-data: {why}")
