"""The gallery: static pages beside a job's images. No script, nothing from elsewhere, every text escaped.

`index.html` is the first page, with links to all others; `page-00002.html` and so on follow. Links are relative, so
that the job's folder can be browsed in its bucket or copied anywhere.
"""

from collections.abc import Callable
from html import escape
from importlib.resources import files
from string import Template

from schemas import keys
from schemas.planned import PlannedRow
from schemas.result import ImageResult

PAGE_IMAGES = 200
# Captions are for looking over; whole prompts stand in metadata.parquet and in the images.
CAPTION_CHARACTERS = 600
INDEX_LINKS = 1000
HTML = "text/html; charset=utf-8"


class Gallery:
    """Writes pages as images come in; holds the first page and the latest one in memory.

    `put` stores a page by its name in the gallery's folder.
    """

    def __init__(self, job: str, put: Callable[[str, bytes], None]) -> None:
        self._job = job
        self._put = put
        self._template = Template(files("orchestrator").joinpath("templates/gallery.html").read_text("utf-8"))
        self._first: list[str] = []
        self._figures: list[str] = []
        self._page = 1

    def add(self, row: PlannedRow, image: ImageResult) -> None:
        """Add one image; a dropped one has none."""
        if image.key is None:
            return
        if len(self._figures) == PAGE_IMAGES:
            self._turn_page()
        self._figures.append(_figure(self._job, row, image, image.key))

    def finish(self, summary: str) -> int:
        """Write the last page and the index, with `summary` as plain text below its title; returns the pages."""
        if self._page == 1:
            self._first = self._figures
        else:
            self._write_page(has_next=False)
        nav = _link(2, "next page") + _all_pages(self._page) if self._page > 1 else ""
        self._write(1, summary, nav, self._first)
        return self._page

    def _turn_page(self) -> None:
        if self._page == 1:
            self._first = self._figures  # written last: only then are the counts and the other pages known
        else:
            self._write_page(has_next=True)
        self._figures = []
        self._page += 1

    def _write_page(self, has_next: bool) -> None:
        nav = _link(1, "first page") + _link(self._page - 1, "previous page")
        nav += _link(self._page + 1, "next page") if has_next else ""
        self._write(self._page, f"page {self._page}", nav, self._figures)

    def _write(self, page: int, summary: str, nav: str, figures: list[str]) -> None:
        text = self._template.substitute(
            title=escape(f"promptmill: {self._job}"), summary=escape(summary), nav=nav, figures="\n".join(figures)
        )
        self._put(_page_name(page), text.encode())


def _page_name(page: int) -> str:
    return "index.html" if page == 1 else f"page-{page:05d}.html"


def _link(page: int, text: str) -> str:
    return f'<a href="{_page_name(page)}">{escape(text)}</a>'


def _all_pages(pages: int) -> str:
    step = -(-pages // INDEX_LINKS)
    links = "".join(_link(page, str(page)) for page in range(1, pages + 1, step))
    return f'<details><summary>all {pages} pages</summary><div class="pages">{links}</div></details>'


def _figure(job: str, row: PlannedRow, image: ImageResult, key: str) -> str:
    href = escape("../" + key.removeprefix(keys.job_folder(job)))
    last = row.stage_count - 1
    name = row.id if row.num_images == 1 else f"{row.id}-{image.image}"
    name += keys.stage_suffix(None if image.stage == last else image.stage)
    row = row.at_stage(image.stage)
    prompt = row.prompt if len(row.prompt) <= CAPTION_CHARACTERS else row.prompt[:CAPTION_CHARACTERS] + "…"
    facts = [name, f"seed {image.seed}", row.pipeline, row.model, f"{image.width}×{image.height}"]
    facts += ["flagged"] if image.flagged else []
    opening = '<figure class="flagged">' if image.flagged else "<figure>"
    return (
        f'{opening}<a href="{href}"><img src="{href}" width="{image.width}" height="{image.height}" loading="lazy"'
        f' decoding="async" alt="{escape(prompt)}"></a>'
        f'<figcaption><p class="prompt" dir="auto">{escape(prompt)}</p>'
        f'<div class="facts">{escape(" · ".join(facts))}</div></figcaption></figure>'
    )
