"""Which campaign a label means, and what is said where it means none."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.choose import Found, NoSuchCampaign, choose, named
from sweeps import campaign as documents
from sweeps.study import find_study


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


def test_changes_name_a_campaign_also_where_one_of_them_changes_nothing(tmp_path: Path) -> None:
    study = find_study("recursion_depth")
    campaigns = [documents.declare(study, "mini", changes) for changes in ((), ("model.D=64",), ("optim.lr=0.001",))]
    kept = []
    for one in campaigns:
        path = tmp_path / f"{one.id}.json"
        path.write_text(one.text())
        kept.append(Found(one.id, one.label, one.profile, file=path))
    standing = campaigns[0].rows[0].settings
    assert standing is not None
    assert choose(kept, changes=[f"model.D={standing.model.D}", "optim.lr=1e-3"]) == (kept[2],)
    assert choose(kept, changes=[f"model.D={standing.model.D}"]) == (kept[0],)
    with pytest.raises(NoSuchCampaign, match="no campaign with --set model.D=40 optim.lr=1e-3"):
        choose(kept, changes=["model.D=40", "optim.lr=1e-3"])
