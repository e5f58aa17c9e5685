from __future__ import annotations

import dataclasses

from view.report_cases import Page, page_of, pool_of, sample_of, typical_page

from tamis.records import Choice, Failure, Grade, Image, Message, Pool, Problem
from tamis.view.candidates import MOST_CANDIDATES, PROBLEM_CHARS


def test_the_choice_of_the_best_method_is_marked_first_and_open():
    page = Page(typical_page())
    cards = page.having("details", "candidate")
    assert ["chosen" in card["class"].split() for card in cards] == [True, False, False]
    assert ["open" in card for card in cards] == [True, False, False]
    assert page.inside("candidate", "mark") == "chosen"
    assert "2 + 2 = 4" in page.inside("chosen")
    assert page.inside("chosen", "badges") == "majority"
    assert page.inside("badges") == "majoritybest-of-n margin"
    assert "Chose nothing: best-of-n gini." in page.inside("problem")


def test_the_chosen_one_is_that_of_the_best_method_whatever_the_order_of_choices():
    pool = pool_of(["a", "b", "c"], ["1", "2", "3"])
    choices = [Choice("p1", "best-of-n margin", 0), Choice("p1", "unknown", 2), Choice("p1", "majority", 1)]
    for order in (choices, choices[::-1]):
        page = Page(page_of(pools=(pool,), choices=order))
        assert page.inside("chosen", "index") == "1"


def test_verdicts_are_five_and_ungraded_is_not_wrong():
    samples = [sample_of(text, index) for index, text in enumerate(["r", "w", "n", "u"])]
    samples.append(sample_of("", 4, parts=(), finish_reason="error", error=Failure("engine", "out of <memory>")))
    samples[3] = dataclasses.replace(samples[3], finish_reason="length")
    answers = [
        ("4", True, None),
        ("5", False, None),
        (None, False, "no_answer"),
        ("6", None, "timeout"),
        (None, None, "engine_error"),
    ]
    grades = tuple(Grade(s.key, *row) for s, row in zip(samples, answers, strict=True))
    pool = Pool(Problem("p1", "?", answer="4"), tuple(samples), grades, (0, 1, -1, 2, -1))
    page = Page(page_of(pools=(pool,)))
    assert page.inside("verdict") == "✓ right✗ wrong∅ no answer? not graded! failed"
    assert "Failed (engine): out of <memory>" in page.inside("body")
    assert "Not graded: timeout." in page.inside("body")
    assert page.inside("candidate", "warn").startswith("truncated")
    assert "chosen" not in page.inside("candidates")
    assert "No method chose" in page.text


def test_the_answers_of_a_problem_are_counted_by_cluster():
    pool = pool_of(["a", "b", "c", "d"], ["5", "4", "4.0", None])
    pool = dataclasses.replace(pool, clusters=(0, 1, 1, -1), grades=(*pool.grades[:2], Grade("k", "4.0", True), pool.grades[3]))
    assert Page(page_of(pools=(pool,))).inside("answers") == "✓ right4 × 2✗ wrong5 × 1∅ no answer × 1"


def test_scores_show_their_rank_and_a_missing_one_has_none():
    pool = dataclasses.replace(pool_of(["a", "b", "c"], ["4", "4", "4"]), scores={"margin": (0.25, None, 0.5)})
    scores = Page(page_of(pools=(pool,))).inside("scores")
    assert scores == "margin0.25 2 of 2margin– margin0.5 1 of 2"


def test_an_imported_pool_without_grades_clusters_scores_or_statistics():
    pool = Pool(Problem("p1", messages=(Message("user", "甲?"), Message("assistant", "乙"))), (sample_of("x", stats=False),))
    page = Page(page_of(pools=(pool,)))
    assert page.inside("verdict") == "? not graded"
    assert "none given" in page.inside("reference")
    assert page.inside("question") == "user甲?assistant乙"
    assert page.inside("tokens") == page.inside("steps") == ""
    assert "No token statistics" in page.inside("scale")


def test_a_pool_without_samples_and_a_sample_without_text():
    empty = Pool(Problem("p1", "?"), ())
    silent = Pool(Problem("p2", "?"), (sample_of("", parts=(Image("images/<a>.png"),)),))
    page = Page(page_of(pools=(empty, silent)))
    assert "No samples." in page.inside("problem")
    assert "images/<a>.png" in page.inside("body")


def test_no_pools_no_section():
    assert "candidates" not in Page(page_of()).text


def test_of_a_large_pool_the_chosen_ones_are_kept_and_the_rest_is_counted():
    num = MOST_CANDIDATES + 10
    pool = pool_of([f"text {k}" for k in range(num)], ["4"] * num)
    choices = [Choice("p1", "majority", num - 1), Choice("p1", "best-of-n gini", num - 3)]
    page = Page(page_of(pools=(pool,), choices=choices))
    assert len(page.having("details", "candidate")) == MOST_CANDIDATES
    assert page.inside("badges") == "majoritybest-of-n gini"
    assert "10 more candidates" in page.inside("candidates")


def test_a_long_problem_says_what_it_leaves_out():
    page = Page(page_of(pools=(pool_of(["4"], ["4"], prompt="x" * (PROBLEM_CHARS + 1234)),)))
    assert page.inside("question") == "x" * PROBLEM_CHARS + "1,234 characters are not shown here"


def test_a_choice_below_its_threshold_says_so():
    choice = Choice("p1", "rejection", 0, accepted=False)
    assert Page(page_of(pools=(pool_of(["4"], ["4"]),), choices=[choice])).inside("badges") == "rejection (below its threshold)"
