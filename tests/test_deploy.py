"""The files for containers and Kubernetes: what KubeRay's custom resources take, held against the fields of
their definition; and an image that builds from the repository as it is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from packaging.version import Version

from jobs.run.settings import load_config
from schemas.config import AuditConfig

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs" / "deploy"


def an_object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


WORDS = {"type": "object", "additionalProperties": {"type": "string"}}
COUNT = {"type": "integer", "minimum": 0}
QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"}
RESOURCES = {kind: {"type": "object", "additionalProperties": QUANTITY} for kind in ("requests", "limits")}
CONTAINER = an_object(
    ["name", "image", "resources"],
    name={"type": "string"},
    image={"type": "string"},
    imagePullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
    securityContext={"type": "object"},
    ports={
        "type": "array",
        "items": an_object(["containerPort"], containerPort=COUNT, name={"type": "string", "maxLength": 15}),
    },
    env={"type": "array", "items": an_object(["name"], name={"type": "string"}, value={"type": "string"})},
    resources=an_object(["requests", "limits"], **RESOURCES),
    volumeMounts={
        "type": "array",
        "items": an_object(
            ["name", "mountPath"],
            name={"type": "string"},
            mountPath={"type": "string", "pattern": "^/"},
            readOnly={"type": "boolean"},
        ),
    },
)
POD = an_object(
    ["spec"],
    metadata={"type": "object"},
    spec=an_object(
        ["containers"],
        containers={"type": "array", "items": CONTAINER, "minItems": 1},
        volumes={"type": "array"},
        nodeSelector=WORDS,
        tolerations={"type": "array"},
        serviceAccountName={"type": "string"},
        automountServiceAccountToken={"type": "boolean"},
        securityContext={"type": "object"},
    ),
)
CLUSTER = an_object(
    ["headGroupSpec"],
    rayVersion={"type": "string"},
    authOptions=an_object([], mode={"enum": ["token", "disabled"]}),
    enableInTreeAutoscaling={"type": "boolean"},
    autoscalerOptions={"type": "object"},
    headGroupSpec=an_object(
        ["rayStartParams", "template"],
        serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
        enableIngress={"type": "boolean"},
        rayStartParams=WORDS,
        template=POD,
    ),
    workerGroupSpecs={
        "type": "array",
        "items": an_object(
            ["groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"],
            groupName={"type": "string"},
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            numOfHosts=COUNT,
            rayStartParams=WORDS,
            template=POD,
        ),
    },
)
JOB = an_object(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata={"type": "object", "required": ["name"]},
    spec=an_object(
        ["entrypoint", "rayClusterSpec"],
        entrypoint={"type": "string"},
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        backoffLimit=COUNT,
        activeDeadlineSeconds={"type": "integer", "minimum": 1},
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=COUNT,
        runtimeEnvYAML={"type": "string"},
        rayClusterSpec=CLUSTER,
    ),
)
"""The fields of `RayJob` in KubeRay 1.5 and newer that such a manifest may use; an unknown one is an error,
as for the API server's strict validation."""


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    found = list(yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text()))
    return {manifest["kind"]: manifest for manifest in found}


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def test_the_job_is_what_kuberay_takes(manifests: dict[str, Any]) -> None:
    jsonschema.validate(manifests["RayJob"], JOB)
    for group in manifests["RayJob"]["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", group["groupName"])


def test_every_pod_has_the_same_storage_image_and_few_rights(manifests: dict[str, Any]) -> None:
    claim = manifests["PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    images = set()
    for pod in pods(manifests["RayJob"]):
        (container,) = pod["containers"]
        images.add(container["image"])
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        assert volumes["shared"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert volumes["config"]["configMap"]["name"] == manifests["ConfigMap"]["metadata"]["name"]
        assert {"name": "shared", "mountPath": "/shared"} in container["volumeMounts"]
        assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
    assert len(images) == 1


def test_tokens_are_on_and_nothing_is_published(manifests: dict[str, Any]) -> None:
    cluster = manifests["RayJob"]["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert Version(cluster["rayVersion"]) == Version(ray.__version__) >= Version("2.52.0")
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert not cluster["headGroupSpec"].get("enableIngress")
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_what_it_runs_is_a_command_of_ours_and_a_valid_config(
    manifests: dict[str, Any], tmp_path: Path
) -> None:
    words = shlex.split(manifests["RayJob"]["spec"]["entrypoint"])
    assert words[:2] == ["auditor", "audit"]
    config, out = Path(words[words.index("--config") + 1]), Path(words[words.index("--out") + 1])
    assert out.is_relative_to("/shared") and config.parent == Path("/config")
    (tmp_path / config.name).write_text(manifests["ConfigMap"]["data"][config.name])
    found = load_config(AuditConfig, tmp_path / config.name)
    assert found.data.id is not None and found.data.id.startswith("/shared/")
    assert all((model.path or "").startswith("/shared/") for model in found.models)


def test_the_image_copies_what_there_is_and_installs_known_extras() -> None:
    lines = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text()).splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#")]
    known = {"ARG", "FROM", "RUN", "COPY", "WORKDIR", "USER", "ENV", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in steps} <= known
    for name, rest in steps:
        if name == "COPY":
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
    text = (ROOT / "pyproject.toml").read_text()
    default = next(rest for name, rest in steps if name == "ARG" and rest.startswith("EXTRAS="))
    for extra in {*default.partition("=")[2].split(","), "models", "ray", "gpu", "vllm"}:
        assert re.search(rf"^{extra} = \[", text, re.MULTILINE)
    assert {"models", "ray"} <= {*default.partition("=")[2].split(",")}
    python = next(rest for name, rest in steps if name == "ARG" and rest.startswith("PYTHON="))
    assert python.partition("=")[2] in ("3.11", "3.12")
    users = [rest for name, rest in steps if name == "USER"]
    assert users == ["ray"]
