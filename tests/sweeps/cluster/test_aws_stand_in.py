"""What cluster.yaml and cluster/aws-stack.yaml make on AWS, made in moto's stand-in for it by Ray's own code."""

import ast
import copy
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeps.cluster.launcher import auth_of, need_ray_file
from tests.sweeps.cluster.conftest import ROOT, Written

boto3 = pytest.importorskip("boto3", reason="needs the extra aws")
moto = pytest.importorskip("moto", reason="needs the extra dev")

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utc:DeprecationWarning"),  # botocore's, moto's
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # their connections
    pytest.mark.filterwarnings("ignore:Could not find AMI:PendingDeprecationWarning"),
]
REGION = "us-east-1"


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An account of AWS with its default network and nothing in it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with moto.mock_aws():
        yield
    for name in list(sys.modules):  # Ray keeps clients of the account that is gone
        if name.startswith("ray.autoscaler._private.aws"):
            del sys.modules[name]


@pytest.fixture
def stack(aws: None) -> dict[str, str]:
    """cluster/aws-stack.yaml deployed: its outputs."""
    ec2, formation = boto3.client("ec2"), boto3.client("cloudformation")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnet = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"][0]["SubnetId"]
    given = {"Vpc": vpc, "Subnet": subnet, "SshFrom": "203.0.113.7/32"}
    template = (ROOT / "cluster" / "aws-stack.yaml").read_text(encoding="utf-8")
    address = "  SharedFolder: {Value: !GetAtt SharedDoor.IpAddress}\n"  # which the stand-in cannot tell
    assert address in template
    formation.create_stack(
        StackName="trm-ablations",
        TemplateBody=template.replace(address, ""),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    (made,) = formation.describe_stacks(StackName="trm-ablations")["Stacks"]
    (door,) = boto3.client("efs").describe_mount_targets(FileSystemId=_shared_files())["MountTargets"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]}
    return {**outputs, "SharedFolder": door["IpAddress"]}


def _shared_files() -> str:
    (made,) = boto3.client("efs").describe_file_systems()["FileSystems"]
    assert made["Encrypted"]
    return str(made["FileSystemId"])


@pytest.fixture
def path(stack: dict[str, str], written: Written) -> Path:
    """cluster.yaml with the stack's outputs in it."""
    return written(
        "cluster.yaml",
        ("sg-0123456789abcdef0", stack["SecurityGroup"]),
        ("trm-head", stack["InstanceProfile"]),
        ("172.31.0.9", stack["SharedFolder"]),
    )


@pytest.fixture
def config(path: Path) -> dict[str, Any]:
    """That file as Ray hands it to the head."""
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.util import prepare_config

    made: dict[str, Any] = bootstrap_aws(prepare_config(yaml.safe_load(path.read_text(encoding="utf-8"))))
    return made


def test_the_stack_opens_ssh_to_one_address_and_everything_to_its_own_machines(stack: dict[str, str]) -> None:
    (group,) = boto3.client("ec2").describe_security_groups(GroupIds=[stack["SecurityGroup"]])["SecurityGroups"]
    rules = {
        (rule["IpProtocol"], rule.get("FromPort"), rule.get("ToPort")): (
            [one["CidrIp"] for one in rule["IpRanges"]],
            [one["GroupId"] for one in rule["UserIdGroupPairs"]],
        )
        for rule in group["IpPermissions"]
    }
    among = next(rule for (protocol, *_), rule in rules.items() if protocol == "-1")
    assert rules[("tcp", 22, 22)] == (["203.0.113.7/32"], [])
    assert among == ([], [stack["SecurityGroup"]])
    assert len(rules) == 2


def test_the_stack_refuses_ssh_from_everywhere() -> None:
    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Takes CloudFormation's own tags for text."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: str(node.value))
    template = yaml.load((ROOT / "cluster" / "aws-stack.yaml").read_text(encoding="utf-8"), Loader)
    allowed = template["Parameters"]["SshFrom"]["AllowedPattern"]
    assert re.fullmatch(allowed, "203.0.113.7/32")
    assert not any(re.fullmatch(allowed, wide) for wide in ("0.0.0.0/0", "10.0.0.0/8", "203.0.113.7", "::/0"))


def test_the_heads_rights_are_machines_of_this_cluster(stack: dict[str, str]) -> None:
    iam = boto3.client("iam")
    (role,) = iam.get_instance_profile(InstanceProfileName=stack["InstanceProfile"])["InstanceProfile"]["Roles"]
    assert iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"] == []
    policy = iam.get_role_policy(RoleName=role["RoleName"], PolicyName="workers")["PolicyDocument"]
    statements = (ast.literal_eval(policy) if isinstance(policy, str) else policy)["Statement"]
    for statement in statements:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not any("*" in action for action in actions)
        reads = all(action.startswith(("ec2:Describe", "ssm:GetParameters")) for action in actions)
        assert reads or statement["Resource"] != "*"


def test_ray_makes_no_group_no_role_and_opens_nothing(config: dict[str, Any], stack: dict[str, str]) -> None:
    groups = boto3.client("ec2").describe_security_groups()["SecurityGroups"]
    assert {group["GroupName"] for group in groups} & {"ray-autoscaler-trm-ablations"} == set()
    opened = [
        ranges["CidrIp"] for group in groups for rule in group["IpPermissions"] for ranges in rule.get("IpRanges", [])
    ]
    assert opened == ["203.0.113.7/32"]
    assert [role["RoleName"] for role in boto3.client("iam").list_roles()["Roles"] if "ray" in role["RoleName"]] == []
    for node_type in config["available_node_types"].values():
        assert node_type["node_config"]["SecurityGroupIds"] == [stack["SecurityGroup"]]


def test_the_head_is_logged_in_to_with_the_key_that_ray_has_made(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where Ray keeps what it has found out of a file
    auth = auth_of(need_ray_file(path))
    assert auth["ssh_user"] == "ubuntu"
    assert Path(auth["ssh_private_key"]).stat().st_mode & 0o777 == 0o600


def test_machines_are_as_the_file_says_and_none_is_left(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    asked = _note_what_is_asked(monkeypatch)
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name, node_type in config["available_node_types"].items():
        kind = "head" if name == config["head_node_type"] else "worker"
        provider.create_node(
            copy.deepcopy(node_type["node_config"]), {"ray-node-type": kind, "ray-user-node-type": name}, 1
        )
    client = boto3.client("ec2")
    instances = [one for each in client.describe_instances()["Reservations"] for one in each["Instances"]]
    made = {tag["Value"]: one for one in instances for tag in one["Tags"] if tag["Key"] == "ray-user-node-type"}

    assert {name: one["InstanceType"] for name, one in made.items()} == {
        "head": "m7i.xlarge",
        "one_gpu": "g6e.2xlarge",
        "four_gpus": "g6e.12xlarge",
    }
    assert {name: one.get("InstanceLifecycle") for name, one in made.items()} == {
        "head": None,
        "one_gpu": "spot",
        "four_gpus": "spot",
    }
    assert [name for name, one in made.items() if "IamInstanceProfile" in one] == ["head"]
    for request in asked:
        assert request["MetadataOptions"]["HttpTokens"] == "required"
        assert [disk["Ebs"]["VolumeType"] for disk in request["BlockDeviceMappings"]] == ["gp3"]
        assert request["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/")
    volumes = client.describe_volumes()["Volumes"]
    assert [volume["Encrypted"] for volume in volumes] == [True] * 3

    provider.terminate_nodes([one["InstanceId"] for one in instances])
    after = [one for each in client.describe_instances()["Reservations"] for one in each["Instances"]]
    assert {one["State"]["Name"] for one in after} == {"terminated"}
    assert client.describe_volumes()["Volumes"] == []


def _note_what_is_asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every RunInstances request from now on: the stand-in forgets some of what it is given."""
    asked: list[dict[str, Any]] = []
    real = boto3.session.Session.resource

    def resource(session: Any, *names: Any, **options: Any) -> Any:
        made = real(session, *names, **options)
        if names[0] == "ec2":
            made.meta.client.meta.events.register(
                "provide-client-params.ec2.RunInstances", lambda params, **_: asked.append(copy.deepcopy(params))
            )
        return made

    monkeypatch.setattr(boto3.session.Session, "resource", resource)
    return asked
