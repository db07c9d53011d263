"""The gallery's pages."""

from html.parser import HTMLParser

import pytest
from finished_job import JOB, MemoryStore, done, planned

from orchestrator.gallery import PAGE_IMAGES, Gallery


class Page(HTMLParser):
    """Every element of a page with its attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, tag: str, name: str) -> list[str | None]:
        return [attributes.get(name) for found, attributes in self.found if found == tag]


def pages_of(images: int) -> dict[str, str]:
    pages: dict[str, bytes] = {}
    gallery = Gallery(JOB, pages.__setitem__)
    for index in range(images):
        row = planned(index)
        gallery.add(row, done(MemoryStore(), 0, row).images[0])
    gallery.finish("summary <&>")
    return {name: page.decode() for name, page in pages.items()}


@pytest.mark.parametrize(
    ("images", "pages"),
    [(0, 1), (1, 1), (PAGE_IMAGES, 1), (PAGE_IMAGES + 1, 2), (2 * PAGE_IMAGES, 2), (3 * PAGE_IMAGES + 7, 4)],
)
def test_every_image_stands_on_one_page_and_every_link_leads_somewhere(images: int, pages: int) -> None:
    found = pages_of(images)
    assert len(found) == pages
    sources: list[str | None] = []
    for name in sorted(found):
        page = Page(found[name])
        shown = page.values("img", "src")
        assert len(shown) <= PAGE_IMAGES
        assert all(loading == "lazy" for loading in page.values("img", "loading"))
        sources += shown
        links = {link for link in page.values("a", "href") if link and not link.startswith("../images/")}
        assert links <= set(found)
        assert len(links) >= (pages > 1)
    assert len(set(sources)) == len(sources) == images
    assert "summary <&>" in Page(found["index.html"]).text


def test_the_last_page_has_no_next_one() -> None:
    found = pages_of(2 * PAGE_IMAGES + 1)
    assert "next page" in found["index.html"]
    assert "next page" in found["page-00002.html"]
    assert "next page" not in found["page-00003.html"]


def test_links_lead_from_the_gallery_to_the_images_of_the_job() -> None:
    source = Page(pages_of(1)["index.html"]).values("img", "src")[0]
    assert source == "../images/part-00000/000000-0.b.png"


def test_every_text_is_escaped() -> None:
    pages: dict[str, bytes] = {}
    gallery = Gallery(JOB, pages.__setitem__)
    prompt = '</p><script>alert("x")</script>\' onerror="y" $title 夜'
    row = planned(0, prompt=prompt)
    gallery.add(row, done(MemoryStore(), 0, row).images[0])
    gallery.finish("")
    page = Page(pages["index.html"].decode())
    assert "script" not in {tag for tag, _ in page.found}
    assert page.values("img", "alt") == [prompt]
    assert prompt in page.text


def test_nothing_comes_from_elsewhere_and_long_prompts_are_cut() -> None:
    pages: dict[str, bytes] = {}
    gallery = Gallery(JOB, pages.__setitem__)
    row = planned(0, prompt="x" * 20_000)
    gallery.add(row, done(MemoryStore(), 0, row).images[0])
    gallery.finish("")
    text = pages["index.html"].decode()
    assert "http" not in text
    assert "url(" not in text
    assert len(text) < 8_000


def test_flagged_images_are_veiled_and_dropped_ones_absent() -> None:
    pages: dict[str, bytes] = {}
    gallery = Gallery(JOB, pages.__setitem__)
    row = planned(0, num_images=2)
    images = done(MemoryStore(), 0, row, drop=(1,)).images
    gallery.add(row, images[0].model_copy(update={"flagged": True}))
    gallery.add(row, images[1])
    gallery.finish("")
    page = Page(pages["index.html"].decode())
    assert page.values("figure", "class") == ["flagged"]
    assert "row-0-0" in page.text
