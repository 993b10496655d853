"""The cards a plan can be priced on, and what they cost."""

import re

import pytest

from sweeps.prices import CARDS, BadPrice, UnknownCard, find_card, read_price


def test_every_card_says_where_its_rate_and_when_its_price_were_found() -> None:
    for card in CARDS:
        assert re.search(r"measured by others|a measurement on|an assumption", card.source), card.name
        assert re.search(r"20\d\d-\d\d-\d\d", card.price.source), card.name
        assert card.flops_per_s > 0
        assert card.price.dollars_per_hour > 0


def test_faster_memory_is_a_faster_card() -> None:
    rates = [find_card(name).flops_per_s for name in ("cpu", "l40s", "rtx4090", "a100", "h100", "h200")]
    assert rates == sorted(rates)


@pytest.mark.parametrize(
    ("written", "name"), [("h100", "h100"), ("RTX 4090", "rtx4090"), ("rtx-4090", "rtx4090"), ("L40S", "l40s")]
)
def test_a_card_is_found_however_its_name_is_written(written: str, name: str) -> None:
    assert find_card(written).name == name


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("4090", "did you mean rtx4090?"),
        ("l40", "did you mean l40s?"),
        ("NVIDIA H100 80GB HBM3", "did you mean h100?"),
        ("h10", "did you mean h100?"),
        ("gaudi", "expected one of h200, h100, a100, l40s, rtx4090, cpu"),
        ("", "expected one of"),
    ],
)
def test_an_unknown_card_is_refused_with_the_nearest_there_is(written: str, said: str) -> None:
    with pytest.raises(UnknownCard, match=re.escape(said)):
        find_card(written)


@pytest.mark.parametrize("text", ["2.5", "$2.50", "$2.5/h", " 2.5 "])
def test_a_price_is_dollars_per_hour_of_one_card(text: str) -> None:
    assert read_price(text).dollars_per_hour == 2.5


@pytest.mark.parametrize("text", ["", "$", "0", "-1", "nan", "inf", "1e3", "2.5 EUR", "2,5"])
def test_a_price_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadPrice, match="expected dollars per hour"):
        read_price(text)
