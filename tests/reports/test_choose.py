"""Which campaign a label means, and what is said where it means none."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.choose import Found, NoSuchCampaign, choose, named


def found(*labels: str) -> list[Found]:
    return [Found(f"{at:016x}", label, "mini", file=Path("campaign.json")) for at, label in enumerate(labels)]


def test_a_label_that_names_none_is_told_the_nearest_and_at_most_three() -> None:
    many = found(*(f"lr=0.{digits:03}" for digits in range(100)))
    with pytest.raises(NoSuchCampaign) as refused:
        choose(many, ["lr=0.0422"])
    assert str(refused.value) == (
        "no campaign labelled 'lr=0.0422'; did you mean --label lr=0.042? there is --label lr=0.000, --label lr=0.001,"
        " --label lr=0.002 and 97 more"
    )


def test_a_label_that_is_like_none_is_told_those_that_there_are() -> None:
    with pytest.raises(NoSuchCampaign) as refused:
        choose(found("lr=0.1", ""), ["zzz"])
    assert str(refused.value) == (
        "no campaign labelled 'zzz'; there is --label lr=0.1, --label '' (the one without changes)"
    )


def test_three_are_named_without_more() -> None:
    assert named(found("a", "b", "c")) == "--label a, --label b, --label c"
    four = found("a", "b", "c", "d")
    assert named(four, four[0]) == "--label b, --label c, --label d"
