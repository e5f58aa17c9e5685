"""The page on reasoning in texts and pictures."""

from __future__ import annotations

import pytest
from view.report_cases import HOSTILE, Page

from tamis.view.gallery import Card, MetricLine, Picture, card, write_gallery

PIXEL = "data:image/png;base64,AAAA"


class GalleryPage(Page):
    """Also lets embedded pictures pass, and links to files beside the page."""

    TAGS = Page.TAGS | {"img"}
    VOID = Page.VOID | {"img"}

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        assert tag != "img" or values.pop("src").startswith("data:image/")
        link = values.pop("href") if tag == "a" else None
        super().handle_starttag(tag, list(values.items()))
        if link is not None:
            assert ":" not in link
            self.elements[-1][1]["href"] = link


@pytest.fixture
def page_of(tmp_path):
    def make(*cards: Card, metrics=(), warnings=()) -> GalleryPage:
        path = tmp_path / "gallery.html"
        write_gallery(path, "图文推理", {"results": "a folder"}, metrics, map(card, cards), warnings)
        return GalleryPage(path.read_text(encoding="utf-8"))

    return make


def made(**fields) -> Card:
    values = {
        "problem": ("看图", Picture("problem_image_1.png", PIXEL)),
        "made": ("想", Picture("a.png", PIXEL)),
        "expected": (),
    }
    return Card(**{"sample_id": "0", "verdict": "right", **values, **fields})


def test_a_sample_is_folded_and_shows_everything_in_order(page_of):
    page = page_of(
        made(
            expected=("先标出", Picture("1.png", link="x/step%201.png"), Picture("2.png", note="no such image: step2.png")),
            answer="4", expected_answer="四", scores={"psnr": 25.1, "ssim": None}, notes=["no ssim: too small"], truncated=True,
        )
    )  # fmt: skip
    (details,) = page.having("details", "trace")
    assert "open" not in details
    text = page.inside("trace")
    for words in (
        "✓ right",
        "truncated",
        "看图",
        "想",
        "先标出",
        "no such image: step2.png",
        "四",
        "25.1",
        "no ssim: too small",
    ):
        assert words in text
    assert text.index("看图") < text.index("想") < text.index("先标出")
    assert [attrs["alt"] for tag, attrs in page.elements if tag == "img"] == ["problem_image_1.png", "a.png"]
    assert [attrs["href"] for tag, attrs in page.elements if tag == "a"] == ["x/step%201.png"]


def test_the_table_says_what_is_not_there(page_of):
    lines = [MetricLine("BLEU", "12.3", "1 .. 20", "5", ""), MetricLine("FID", "", "", "", "it needs torch-fidelity")]
    page = page_of(metrics=lines, warnings=("6 rows are left out",))
    assert "it needs torch-fidelity" in page.source
    assert page.inside("warnings") == "6 rows are left out"
    assert "No samples." in page.source


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_model_writes_stays_text(page_of, text):
    harmless = page_of(made(sample_id="x", answer="x", error="x", expected_answer="x", notes=["x"], counts="x"))
    picture = Picture(text, note=text)
    page = page_of(
        made(
            sample_id=text, problem=(text, picture), made=(text, Picture("a.png", PIXEL)), expected=(text,), answer=text,
            expected_answer=text, error=text, notes=[text], counts=text,
        ),
        metrics=[MetricLine(text, text, text, text, text)],
    )  # fmt: skip
    assert len(page.scripts) == len(harmless.scripts) == 1
    assert not {tag for tag, _ in page.elements} - {tag for tag, _ in harmless.elements} - {"tr", "td"}
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
