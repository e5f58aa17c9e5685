"""The page on reasoning in texts and pictures."""

from __future__ import annotations

import pytest
from view.report_cases import HOSTILE, Page

from tamis.view.gallery import Cards, MetricLine, write_gallery
from tamis.view.trace_card import Card, Picture

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
    def make(*samples: Card, metrics=(), warnings=(), notes=()) -> GalleryPage:
        path = tmp_path / "gallery.html"
        cards = Cards()
        for sample in samples:
            cards.add(sample)
        write_gallery(path, "图文推理", {"results": "a folder"}, metrics, cards, warnings, notes)
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
    assert page.inside("trace", "asked") == "看图"
    body = page.inside("trace", "body")
    assert body.index("看图") < body.index("想") < body.index("先标出")
    assert [attrs["alt"] for tag, attrs in page.elements if tag == "img"] == ["problem_image_1.png", "a.png"]
    assert [attrs["href"] for tag, attrs in page.elements if tag == "a"] == ["x/step%201.png"]


def test_the_question_stands_in_the_folded_line_in_short(page_of):
    page = page_of(made(problem=("How many\n\ntriangles", Picture("p.png", PIXEL), "are there? " + "这" * 9000)))
    asked = page.inside("asked")
    assert asked.startswith("How many triangles are there? 这")
    assert asked.endswith("…")
    assert len(asked) < 200


def test_small_pictures_are_enlarged_by_whole_factors(page_of):
    sizes = {(48, 30): (144, 90), (100, 20): (200, 40), (144, 10): (144, 10), (1, 1): (144, 144)}
    shown = [Picture("a.png", PIXEL, size) for size in sizes]
    page = page_of(made(problem=(), made=(*shown, Picture("b.png", PIXEL, (96, 96), link="b.png"))))
    images = [attrs for tag, attrs in page.elements if tag == "img"]
    assert [(int(attrs["width"]), int(attrs["height"])) for attrs in images] == [*sizes.values(), (96, 96)]
    assert [attrs.get("class") for attrs in images] == ["enlarged", "enlarged", None, "enlarged", None]


def test_samples_can_be_filtered_by_the_kinds_that_occur(page_of):
    page = page_of(made(), made(verdict="none", truncated=True), made(verdict="failed"), made(verdict="none"))
    buttons = [(attrs["data-only"], attrs["aria-pressed"]) for tag, attrs in page.elements if "data-only" in attrs]
    assert buttons == [("", "true"), ("right", "false"), ("none", "false"), ("failed", "false"), ("truncated", "false")]
    assert page.inside("filters") == "all 4right 1no answer 2failed 1truncated 1"
    kinds = [attrs["data-kinds"] for attrs in page.having("details", "trace")]
    assert kinds == ["right", "none truncated", "failed", "none"]
    assert "data-only" not in "".join(name for _, attrs in page_of(made(), made()).elements for name in attrs)


def test_what_is_known_of_the_model_s_side_stands_with_it(page_of):
    other = ("Candidate 0: score 1.5, failed", ("或者",))
    page = page_of(made(choice="candidate 1, chosen of 2", is_ordered=False, others=[other], answer=None))
    assert "Model · candidate 1, chosen of 2" in page.inside("traces")
    assert "do not say where the pictures belong" in page.inside("traces")
    assert page.inside("other") == "Candidate 0: score 1.5, failed或者"
    assert "do not say where" not in page_of(made()).inside("traces")


def test_the_table_says_what_is_not_there(page_of):
    lines = [MetricLine("BLEU", "12.3", "1 .. 20", "5", ""), MetricLine("FID", "", "", "", "it needs torch-fidelity")]
    page = page_of(metrics=lines, warnings=("6 rows are left out",))
    assert "no value: it needs torch-fidelity" in page.inside("metrics")
    assert page.inside("warnings") == "6 rows are left out"
    assert "No samples." in page.source


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_model_writes_stays_text(page_of, text):
    harmless = page_of(made(sample_id="x", answer="x", error="x", notes=["x"], others=[("x", ("x",))]))
    picture = Picture(text, note=text)
    page = page_of(
        made(
            sample_id=text, problem=(text, picture), made=(text, Picture("a.png", PIXEL)), expected=(text,), answer=text,
            expected_answer=text, error=text, notes=[text], counts=text, choice=text, others=[(text, (text,))],
        ),
        notes=[text],
        metrics=[MetricLine(text, text, text, text, text)],
    )  # fmt: skip
    assert len(page.scripts) == len(harmless.scripts) == 1
    assert not {tag for tag, _ in page.elements} - {tag for tag, _ in harmless.elements} - {"tr", "td"}
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
