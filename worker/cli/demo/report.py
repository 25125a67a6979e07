"""The demonstration's page: each image beside its map."""

from __future__ import annotations

import html
import io
from pathlib import Path
from string import Template

import PIL.Image

from worker.cli.demo.samples import SampleResult
from worker.errors import SusyError
from worker.intake.decode import decode
from worker.localization.pictures import OVERLAY_LONGEST, overlay
from worker.settings import Settings
from worker.sources.files import read
from worker.store.documents import check_document

_JPEG_QUALITY = 88

_PAGE = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>susy-worker: verdicts and maps</title>
<style>
  body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem;
         color: #222; background: #fafafa; }
  article { background: #fff; border: 1px solid #ddd; border-radius: 8px; margin: 1.2rem 0; padding: 1rem; }
  .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
  .pair img { width: 100%; border-radius: 4px; }
  h2 { margin: 0 0 .6rem; font-size: 1.1rem; }
  .tag { border-radius: 1rem; padding: .1rem .7rem; color: #fff; background: #777; font-size: .9rem; }
  .authentic { background: #2e7d32; } .synthetic { background: #bd0026; } .inconclusive { background: #b8860b; }
  dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .8rem 0 0; }
  dt { color: #666; } dd { margin: 0; }
  .bar { height: .8rem; width: 14rem; border-radius: 4px; display: inline-block; vertical-align: middle;
         background: linear-gradient(90deg, #fff, #fd8d3c 50%, #bd0026); border: 1px solid #ccc; }
</style>
<h1>Verdicts and maps</h1>
<p>Left the image, right its map: 1 − p(authentic) of each tile, from <span class="bar"></span> 0 to 1.
Gray tiles were not scored. Demonstration weights: these verdicts decide nothing.</p>
$articles
</html>
""")

_ARTICLE = Template("""<article>
<h2>$name <span class="tag $outcome">$outcome</span></h2>
$pictures
<dl>$facts</dl>
</article>
""")


def write_report(results: list[SampleResult], folder: Path, settings: Settings) -> Path:
    """Write `index.html` and its pictures into `folder`; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    articles = [_article(result, folder, settings) for result in results]
    page = folder / "index.html"
    page.write_text(_PAGE.substitute(articles="".join(articles)), encoding="utf-8")
    return page


def _article(result: SampleResult, folder: Path, settings: Settings) -> str:
    document = check_document(result.view)
    facts = {
        "score": document.get("score"),
        "generator": document.get("generator"),
        "reasons": ", ".join(document.get("reasons", [])),
        "size": f"{document['width']} × {document['height']} px" if "width" in document else None,
        "tiles scored": "{scored} of {total}".format(**document["tiles"]) if "tiles" in document else None,
        "error": document["error"]["message"] if document["error"] else None,
        "check": document["check_id"],
    }
    return _ARTICLE.substitute(
        name=html.escape(result.sample.path.name),
        outcome=html.escape(result.outcome),
        pictures=_pictures(result, folder, settings),
        facts="".join(
            f"<dt>{html.escape(key)}</dt><dd>{html.escape(str(value))}</dd>"
            for key, value in facts.items()
            if value not in (None, "")
        ),
    )


def _pictures(result: SampleResult, folder: Path, settings: Settings) -> str:
    view = result.view
    if view.scan is None or view.verdict is None:
        return ""
    try:
        pixels = decode(read(view.uri, settings.image_roots, settings.max_bytes), settings.max_pixels).pixels
    except SusyError as error:
        return f"<p>{html.escape(error.message)}</p>"
    plain = PIL.Image.fromarray(pixels)
    plain.thumbnail((OVERLAY_LONGEST, OVERLAY_LONGEST))
    names = []
    for kind, picture in (("image", plain), ("map", overlay(pixels, view.scan, view.verdict.regions))):
        name = f"{result.sample.path.stem}.{kind}.jpg"
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
        (folder / name).write_bytes(buffer.getvalue())
        names.append(name)
    images = "".join(f'<img src="{html.escape(name)}" alt="">' for name in names)
    return f'<div class="pair">{images}</div>'
