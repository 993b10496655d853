import datetime
import importlib.util
import os
from pathlib import Path

import pytest

from sweeps.cluster import instances, ray_schema
from sweeps.cluster.__main__ import main
from sweeps.cluster.check import check
from sweeps.cluster.findings import BadFile, Finding
from tests.sweeps.cluster.conftest import FILLED, ROOT, Written

TODAY = datetime.date(2026, 11, 26)


def found(path: Path, budget: float | None = None, today: datetime.date = TODAY) -> tuple[Finding, ...]:
    """What is said of a file; without boto3, which tests do not need, that is said too, and left out here."""
    everything = check(path, folder=ROOT, today=today, budget=budget).findings
    return tuple(each for each in everything if "boto3 is not installed" not in each.message)


def found_at(path: Path, words: str, budget: float | None = None) -> Finding:
    """The one finding that says so."""
    (one,) = [each for each in found(path, budget) if words in each.message]
    return one


def line_of(path: Path, words: str) -> int:
    return next(n for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if words in line)


@pytest.mark.parametrize("name", FILLED)
def test_what_is_shipped_is_good_once_it_is_filled_in(written: Written, name: str) -> None:
    assert found(written(name)) == ()


@pytest.mark.parametrize("name", FILLED)
def test_a_line_that_nobody_filled_in_is_named(name: str) -> None:
    lines = [each.line for each in found(ROOT / name) if "still to be filled in" in each.message]
    assert lines == [
        n for n, line in enumerate((ROOT / name).read_text().splitlines(), 1) if "<-" in line and ">" in line
    ]
    assert lines


@pytest.mark.parametrize(
    ("old", "new", "words", "at_line"),
    [
        ("g6e.2xlarge", "g6e.2xlrage", "did you mean g6e.2xlarge?", "g6e.2xlrage"),
        ('"CPU": 8, "GPU": 1', '"CPU": 8, "GPU": 2', "resources say 2 GPUs, a g6e.2xlarge has 1 L40S", '"GPU": 2'),
        ('"CPU": 48, "GPU": 4', '"CPU": 64, "GPU": 4', "resources say 64 CPUs, a g6e.12xlarge has 48", '"CPU": 64'),
        ('{"CPU": 0} ', '{"CPU": 4} ', "should train nothing", '{"CPU": 4}'),
        ("HttpTokens: required", "HttpTokens: optional", "head: instance metadata", "HttpTokens"),
        ("Encrypted: true", "Encrypted: false", "head: a disk is not encrypted", "DeviceName"),
        ("cache_stopped_nodes: false", "cache_stopped_nodes: true", "keep its disk", "cache_stopped_nodes"),
        ("      IamInstanceProfile: {Name: trm-head}", "", "may do everything in EC2 and S3", "node_config:"),
        ("max_workers: 0", "min_workers: 9", "max_workers", "cluster_name"),
        ("head_node_type: head", "head_node_type: haed", "Ray refuses it", "cluster_name"),
        ("upscaling_speed", "upscaling_sped", "Ray refuses it", "cluster_name"),
        ("resources: {\"CPU\": 8", "resources: {\"CPU\": eight", "Ray refuses it", "eight"),
        ("--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "opens the Jobs API", "ray start --head"),
        ("RAY_AUTH_MODE=token ray start --address", "ray start --address", "anybody who reaches a worker", "--address"),
        ("STOP_WAIT_TIME_S=60", "STOP_WAIT_TIME_S=3", "too little time", "ray start --head"),
        ('"~/.ray/auth_token": "~/.ray/auth_token"', '"~/x": "/etc"', "token reaches no machine", "file_mounts"),
        ('"~/trm-ablations": "."', '"~/trm-ablations": "./not-there"', "is not on this machine", "not-there"),
    ],
)  # fmt: skip
def test_a_fault_is_found_at_its_line(written: Written, old: str, new: str, words: str, at_line: str) -> None:
    path = written("cluster.yaml", (old, new))
    assert found_at(path, words).line == line_of(path, at_line)


def test_a_group_that_ray_would_open_to_everybody_is_refused(written: Written) -> None:
    rules = "  security_group: {IpPermissions: [{FromPort: 22, ToPort: 22, IpRanges: [{CidrIp: 0.0.0.0/0}]}]}\n"
    path = written("cluster.yaml", ("  cache_stopped_nodes", f"{rules}  cache_stopped_nodes"))
    line = line_of(path, "IpPermissions:")
    assert [each.line for each in found(path)] == [line, line]
    path = written("cluster.yaml", ("SecurityGroupIds: *firewall", "EbsOptimized: true"))
    assert sum("opens ssh to 0.0.0.0/0" in each.message for each in found(path)) == 2


def test_a_price_for_spot_has_a_date_and_grows_old(written: Written) -> None:
    def with_price(price: str) -> Path:
        new = f"{{MarketType: spot, SpotOptions: {{MaxPrice: '{price}'}}}}"
        return written(
            "cluster.yaml", ("InstanceMarketOptions: *spot", f"InstanceMarketOptions: {new}  # read 2026-11-01")
        )

    assert [each.message for each in found(with_price("4.00"))] == []
    assert "56 days ago" in found(with_price("4.00"), today=datetime.date(2026, 12, 27))[0].message
    assert "more than g6e.12xlarge costs on demand" in found(with_price("40"))[0].message
    assert "no number" in found(with_price("cheap"))[0].message


def test_a_budget_counts_the_dearest_machines_that_may_be_up_at_once(written: Written) -> None:
    path = written("cluster.yaml")
    hourly = instances.INSTANCES["m7i.xlarge"].dollars_per_hour
    hourly += instances.INSTANCES["g6e.12xlarge"].dollars_per_hour  # of which there is one at most
    hourly += 3 * instances.INSTANCES["g6e.2xlarge"].dollars_per_hour
    assert check(path, folder=ROOT, today=TODAY).dollars_a_day == pytest.approx(24 * hourly)
    assert found(path, budget=24 * hourly + 1) == ()
    assert "over --budget" in found_at(path, "dollars a day", budget=24 * hourly - 1).message


@pytest.mark.skipif(not importlib.util.find_spec("botocore"), reason="needs boto3, the extra aws")
def test_what_ec2_would_refuse_is_found_before_it_is_asked(written: Written) -> None:
    path = written("cluster.yaml", ("InstanceType: m7i.xlarge", "InstanceType: m7i.xlarge\n      EbsOptimised: true"))
    assert "EbsOptimised" in found_at(path, "EC2 refuses it").message


@pytest.mark.parametrize(
    ("old", "new", "words", "at_line"),
    [
        ("[192.0.2.2]", "[192.0.2.2, 192.0.2.3]", "min_workers: 1, and there are 2", "min_workers"),
        ("[192.0.2.2]", "[192.0.2.1]", "stands here twice", "worker_ips"),
        ("192.0.2.1", "192.0.2.999", "no address", "head_ip"),
        ("export RAY_enable_autoscaler_v2=0;", "", "autoscaler v2 starts no workers", "ray start --head"),
        ("~/key", "~/other", "name the key that logs in", "ssh_private_key"),
        ("worker_ips:", "workers:", "expected head_ip", "provider:"),
    ],
)
def test_a_fault_of_own_machines_is_found_at_its_line(
    written: Written, old: str, new: str, words: str, at_line: str
) -> None:
    path = written("cluster/onprem.yaml", (old, new))
    assert found_at(path, words).line == line_of(path, at_line)


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("cluster/kuberay.yaml", "ReadWriteMany", "ReadWriteOnce", "every pod writes"),
        ("cluster/kuberay.yaml", "shutdownAfterJobFinishes: true", "suspend: false", "would stay, and cost"),
        ("cluster/kuberay.yaml", "authOptions: {mode: token}", "suspend: false", "may run code"),
        ("cluster/kuberay.yaml", 'rayVersion: "2.60.0"', 'rayVersion: "2.9.0"', "constraints.txt installs"),
        ("cluster/kuberay.yaml", "claimName: trm-shared", "claimName: other", "claim other"),
        ("cluster/kuberay.yaml", "trm-ablations:1", "trm-ablations:latest", "name one with a tag"),
        ("cluster/kuberay.yaml", "nvidia.com/gpu: 1", "cpu: 1", "would train on CPUs"),
        ("cluster/skypilot.yaml", "\nrun: |", "\nrum: |", "rum: no field"),
        ("cluster/skypilot.yaml", "workdir: .", "workdir: ./not-there", "no folder"),
        ("cluster/slurm.sbatch", "#SBATCH --requeue", "", "does not come back"),
        ("cluster/slurm.sbatch", "B:TERM@120", "TERM@120", "stop at a checkpoint"),
        ("cluster/slurm.sbatch", "#SBATCH --exclusive", "#", "stops the other's Ray"),
        ("cluster/slurm.sbatch", "RAY_AUTH_MODE=token", "X=1", "may run code"),
        ("cluster/slurm.sbatch", "\nfi\n", "\n", "bash refuses it"),
    ],
)
def test_a_fault_in_a_file_for_another_launcher_is_found(
    written: Written, name: str, old: str, new: str, words: str
) -> None:
    assert any(words in each.message for each in found(written(name, (old, new))))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a file of Ray's"),
        ("- a list\n", "expected a file of Ray's"),
        ("a: [1\n", ":2: no YAML"),
        ("provider: {type: aws}\nprovider: {type: local}\n", ":2: provider stands here twice"),
        ("provider: &a [*a]\n", "holds itself"),
        ("x: 2026-99-99\nprovider: {type: aws}\n", "no YAML"),
        ("[" * 5000, "nested too deep"),
        ("kind: RayJob\nspec: [1]\nmetadata: {}\n", "no entrypoint"),
        ("provider: {type: gcp}\ncluster_name: x\n", "only aws and local"),
        ("provider: {type: aws}\ncluster_name: 7\n", "Ray refuses it"),
        ("run: x\nfile_mounts: [1]\n", "not shaped as expected"),
    ],
)
def test_what_is_no_description_of_a_cluster_is_told_in_a_line(
    tmp_path: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text, encoding="utf-8")
    assert main(["check", str(path)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert any(words in line for line in said)
    assert all(line.startswith(str(path)) for line in said)


def test_bytes_that_are_no_text_and_a_file_that_is_not_there_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bytes").write_bytes(b"a: 1\n\xff\xfe")
    with pytest.raises(BadFile, match=":2: no UTF-8"):
        found(tmp_path / "bytes")
    assert main(["check", str(tmp_path / "missing")]) == 2
    assert "error:" in capsys.readouterr().err
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(BadFile, match="no file"):
            found(path)


def test_a_good_file_is_one_line_and_a_bad_one_beside_it_decides_the_code(
    written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    good = written("cluster/slurm.sbatch")
    assert main(["check", str(good)]) == 0
    assert capsys.readouterr() == (f"{good}: good: a SLURM job\n", "")
    assert main(["check", str(good), str(ROOT / "cluster" / "slurm.sbatch")]) == 2


@pytest.mark.parametrize("given", ["-3", "nan", "many", "0"])
def test_a_budget_is_a_number_of_dollars(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "cluster.yaml", f"--budget={given}"]) == 2
    assert "expected dollars a day" in capsys.readouterr().err


def test_ray_still_keeps_its_look_at_a_file_where_we_ask_for_it() -> None:
    """Fails when Ray moves it: then ray_schema.py is the one place to mend."""
    own = {"cluster_name": "x", "provider": {"type": "local", "head_ip": "192.0.2.1", "worker_ips": []}}
    assert ray_schema.objection(own) is None
    assert ray_schema.objection({**own, "max_workers": "two"}) == (("max_workers",), "'two' is not of type 'integer'")
