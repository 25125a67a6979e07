"""AVIF and HEIF: from the bytes of a file to what its container declares, and to its decoder."""

from __future__ import annotations

from functools import partial
from io import BytesIO

from PIL import AvifImagePlugin
from PIL import Image as Pillow

from worker.intake.container import Container, corrupt, require_size, truncated, unsupported
from worker.intake.heif.boxes import Boxes, Range
from worker.intake.heif.picture import Picture, cropped, orientation
from worker.intake.heif.primary import read_primary
from worker.intake.heif.tracks import read_first_track

AVIF_BYTES, HEIF_BYTES = 16, 16
"""What decoding allocates per coded pixel: the planes of color and opacity, and the copies in RGBA of them."""
_BRANDS = frozenset((b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"))


def read_heif(content: bytes, max_pixels: int) -> Container:
    """Find the image, make sure that all of its data is there, and how large its coded frames are."""
    boxes = Boxes(content)
    brands: list[bytes] = []
    places: dict[bytes, Range] = {}
    end = 0
    for name, body, end in boxes.top_level():
        if name in (b"ftyp", b"meta", b"moov") and name not in places:
            if end > len(content):
                raise truncated("the file ends before it describes an image")
            places[name] = (body, end)
        if name == b"ftyp" and not brands:
            brands = [content[body : body + 4], *(content[at : at + 4] for at in range(body + 8, end - 3, 4))]
            if not _BRANDS.intersection(brands):
                raise unsupported("the file is a video or an image of another kind", "convert it to JPEG")
    is_sequence = b"moov" in places and b"avis" in brands and brands[0] != b"avif"
    if not is_sequence and b"meta" not in places:
        raise truncated("the file ends before it describes an image")
    picture = (
        read_first_track(boxes, places[b"moov"], max_pixels)
        if is_sequence
        else read_primary(boxes, places[b"meta"], max_pixels)
    )
    left, top, width, height = cropped(boxes, picture)
    require_size(width, height, max_pixels)
    if picture.kind == b"hvc1":
        return _open_heif(content, picture, max_pixels)
    return Container(
        format="AVIF",
        canvas=(width, height),
        picture=(-left, -top, *picture.size),
        loading_bytes=AVIF_BYTES * picture.coded_pixels,
        loaded_bytes=AVIF_BYTES * picture.coded_pixels,
        load=partial(_load_avif, picture.file),
        orientation=orientation(boxes, picture.properties),
        animated=picture.animated,
        complete=end <= len(content),
    )


def _load_avif(content: bytes) -> Pillow.Image:
    with AvifImagePlugin.AvifImageFile(BytesIO(content)) as image:
        image.load()
        return image


def _open_heif(content: bytes, picture: Picture, max_pixels: int) -> Container:
    """Opened by libheif, which crops and turns the image itself."""
    try:
        from pillow_heif import open_heif
    except ImportError:
        raise unsupported(
            "the file is an HEIF image, which takes the extra `heif` to decode",
            "install susy-worker[heif], or convert the image to JPEG",
        ) from None
    try:
        image = open_heif(content)
    except MemoryError:
        raise
    except Exception as error:  # libheif's errors come as ValueError, EOFError, SyntaxError, RuntimeError and OSError
        raise corrupt("the HEIF data cannot be decoded") from error
    require_size(image.size[0], image.size[1], max_pixels)
    return Container(
        format="HEIF",
        canvas=image.size,
        picture=(0, 0, *image.size),
        loading_bytes=HEIF_BYTES * picture.coded_pixels,
        loaded_bytes=HEIF_BYTES * picture.coded_pixels,
        load=image.to_pillow,
    )
