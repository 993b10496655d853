"""Addresses of what is kept, and nothing in them that should not travel."""

from __future__ import annotations

import pytest

from reports.links import Links, links


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("git@github.com:someone/trm.git", "https://github.com/someone/trm"),
        ("https://github.com/someone/trm.git", "https://github.com/someone/trm"),
        ("https://someone:token@git.example:8443/group/sub/trm/", "https://git.example:8443/group/sub/trm"),
        ("http://git.example/trm", ""),
        ("ssh://git@git.example/trm", ""),
        ("/srv/git/trm.git", ""),
        ("../trm", ""),
        ("git@git.example:javascript:alert(1)", ""),
        ('https://git.example/a"><script>', ""),
        ("", ""),
    ],
)
def test_a_commit_is_linked_where_the_repository_has_a_page(remote: str, page: str) -> None:
    found = links("", None, remote, 2)
    assert found.commit("0123abc") == (f"{page}/commit/0123abc" if page else "")
    assert found.commit("unknown") == found.commit("0123abc/../..") == ""


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("http://tracker:5000", "http://tracker:5000/#/experiments/7/runs/abc"),
        ("https://me:word@tracker/ml/", "https://tracker/ml/#/experiments/7/runs/abc"),
        ("http://me:wo/rd@tracker/", ""),
        ("postgresql://me:word@base/mlflow", ""),
        ("sqlite:///mlflow.db", "http://127.0.0.1:5000/#/experiments/7/runs/abc"),
    ],
)
def test_a_run_is_linked_where_there_is_a_server_and_no_password_goes_with_it(address: str, page: str) -> None:
    found = links(address, "7", "", 2)
    assert found.run("abc") == page
    assert links(address, None, "", 2).run("abc") == ""
    assert ("mlflow ui" in found.opens) == address.startswith("sqlite")


def test_what_others_have_written_stays_one_part_of_an_address() -> None:
    found = links("http://tracker", "1", "", 3)
    assert found.run('a/../b"?c') == "http://tracker/#/experiments/1/runs/a%2F..%2Fb%22%3Fc"
    assert found.folder("../../etc") == "../../../runs/..%2F..%2Fetc/"


def test_what_is_not_known_leads_nowhere() -> None:
    assert (Links().run("a"), Links().folder("a"), Links().commit("0123abc")) == ("", "", "")
