from pathlib import Path

import pytest

from sweeps.cluster.login import Login, NoLogin, find_login, tunnel
from tests.sweeps.cluster.conftest import Written


@pytest.mark.parametrize(
    ("given", "destination", "options"),
    [
        ("ubuntu@192.0.2.1", "ubuntu@192.0.2.1", ()),
        ("ssh://ubuntu@head.example.org", "ubuntu@head.example.org", ()),
        ("ssh://head", "head", ()),  # as ~/.ssh/config calls it
        ("ssh://ubuntu@192.0.2.1:2222", "ubuntu@192.0.2.1", ("-p", "2222")),
    ],
)
def test_an_address_says_who_logs_in_where(given: str, destination: str, options: tuple[str, ...]) -> None:
    assert find_login(given) == Login(destination, options, given)


def test_a_clusters_file_says_who_logs_in_where_and_with_which_key(written: Written) -> None:
    path = written("cluster/onprem.yaml", ("  ssh_user: ubuntu", "  ssh_proxy_command: nc door %h\n  ssh_user: ubuntu"))
    login = find_login(str(path))
    assert login.destination == "ubuntu@192.0.2.1"
    key = str(Path("~/key").expanduser())
    assert login.options == ("-i", key, "-o", "IdentitiesOnly=yes", "-o", "ProxyCommand=nc door %h")
    asked = login.command(script="echo 'a b'")
    assert asked[-3:] == ["--", "ubuntu@192.0.2.1", "exec sh -c 'echo '\"'\"'a b'\"'\"''"]
    assert "BatchMode=yes" in asked


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("-oProxyCommand=touch@hacked", "no user@host"),
        ("ssh://-oProxyCommand=x", "no user@host"),
        ("user@host;reboot", "no user@host"),
        ("http://127.0.0.1:8265", "over ssh"),
        ("ssh://user:secret@host", "over ssh"),
        ("ssh://user@host:port", "over ssh"),
        ("nowhere.yaml", "no such file"),
    ],
)
def test_what_is_no_way_to_a_head_is_refused(given: str, why: str) -> None:
    with pytest.raises(NoLogin, match=why):
        find_login(given)


def test_a_file_in_which_no_head_is_named_yet_is_refused_with_the_line() -> None:
    with pytest.raises(NoLogin, match=r"onprem.yaml:\d+: <head's address> is still to be filled in"):
        find_login(str(Path(__file__).parents[3] / "cluster" / "onprem.yaml"))


# --- with stand-ins for ssh ------------------------------------------------------------------------------------------


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name, to be written."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def test_a_tunnel_is_there_once_the_head_has_answered_and_ends_with_us(ssh: Path, tmp_path: Path) -> None:
    ssh.write_text(
        f'#!/usr/bin/env bash\necho $$ > {tmp_path}/pid\necho "$@" > {tmp_path}/asked\n'
        'echo "Welcome!"; eval "${@: -1}"\n'
    )
    with tunnel(Login("somebody@here", ("-p", "22"), "here"), 8265) as way:
        assert way.lost() is None
        port = way.address.rpartition(":")[2]
        assert f"-L 127.0.0.1:{port}:127.0.0.1:8265" in (tmp_path / "asked").read_text()
        assert "ExitOnForwardFailure=yes" in (tmp_path / "asked").read_text()
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_a_tunnel_that_has_ended_says_why(ssh: Path) -> None:
    ssh.write_text('#!/usr/bin/env bash\necho "${@: -1}" | grep -o "[0-9a-f]\\{32\\}"; echo "broken\x1b[2J pipe" >&2\n')
    with tunnel(Login("somebody@here", (), "here"), 8265) as way:
        assert way.lost(wait_s=60) == "broken [2J pipe"


def test_a_head_that_lets_nobody_in_is_said_with_what_to_try(ssh: Path) -> None:
    ssh.write_text('#!/usr/bin/env bash\necho "Permission denied (publickey)." >&2; exit 255\n')
    with pytest.raises(NoLogin, match=r"here.yaml: no way in \(Permission denied .*; try `ssh -p 22 somebody@here`"):
        tunnel(Login("somebody@here", ("-p", "22"), "here.yaml"), 8265).__enter__()


def test_a_port_that_was_taken_meanwhile_is_another_next_time(ssh: Path, tmp_path: Path) -> None:
    ssh.write_text(
        f"#!/usr/bin/env bash\nif ! [ -e {tmp_path}/tried ]; then touch {tmp_path}/tried\n"
        'echo "bind [127.0.0.1]:1: Address already in use" >&2; exit 255; fi\neval "${@: -1}"\n'
    )
    with tunnel(Login("somebody@here", (), "here"), 8265) as way:
        assert way.lost() is None


def test_without_ssh_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoLogin, match="no `ssh` here"):
        tunnel(Login("somebody@here", (), "here"), 8265).__enter__()
