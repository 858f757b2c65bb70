"""The Kubernetes manifest: fields that exist, the operator's rules, what Open MPI 5 needs."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from morsr_mpi.app.autoscale import mpijob_patch
from morsr_mpi.app.doctor import Check, is_ready
from morsr_mpi.app.hosts import check_hosts
from morsr_mpi.app.settings import Settings
from morsr_mpi.base.errors import UsageError

yaml = pytest.importorskip("yaml")
jsonschema = pytest.importorskip("jsonschema")
sys.path.insert(0, str(Path(__file__).parent))
from mpijob_schema import SCHEMAS  # noqa: E402

HERE = Path(__file__).parents[2] / "deploy" / "kubernetes"


def documents() -> list[dict[str, Any]]:
    """The objects of the manifest."""
    return list(yaml.safe_load_all((HERE / "mpijob.yaml").read_text()))


def job() -> dict[str, Any]:
    """The MPIJob."""
    (found,) = [d for d in documents() if d["kind"] == "MPIJob"]
    return found


def replica(name: str) -> dict[str, Any]:
    """Launcher or Worker."""
    found: dict[str, Any] = job()["spec"]["mpiReplicaSpecs"][name]
    return found


def container(name: str) -> dict[str, Any]:
    """The one container of a kind of pod."""
    (found,) = replica(name)["template"]["spec"]["containers"]
    return dict(found)


def test_every_object_has_known_fields_only() -> None:
    for document in documents():
        jsonschema.validate(document, SCHEMAS[document["kind"]])


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object inside a document."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def test_a_misspelt_field_is_refused_wherever_it_stands() -> None:
    free = {"labels", "matchLabels", "requests", "limits"}  # names are the user's there
    for document in documents():
        for i, inner in enumerate(objects(document)):
            changed = copy.deepcopy(document)
            place = list(objects(changed))[i]
            assert place == inner
            parents = [k for o in objects(document) for k, v in o.items() if v is inner]
            if set(parents) & free:
                continue
            place["replica"] = 1
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(changed, SCHEMAS[document["kind"]])


def test_the_rules_of_the_operator_are_kept() -> None:
    spec, name = job()["spec"], job()["metadata"]["name"]
    launcher, worker = replica("Launcher"), replica("Worker")
    assert launcher["replicas"] == 1
    assert worker["replicas"] >= 1
    for one in (launcher, worker):
        assert one["restartPolicy"] in ("Never", "OnFailure")
        assert one["template"]["spec"]["containers"]
    assert len(f"{name}-worker-{worker['replicas'] - 1}") <= 63
    assert spec["slotsPerWorker"] >= 0
    assert spec["sshAuthMountPath"]
    assert spec["mpiImplementation"] == "OpenMPI"
    assert spec["runPolicy"]["cleanPodPolicy"] in ("None", "Running", "All")


def test_open_mpi_5_finds_the_workers() -> None:
    environment = {entry["name"]: entry["value"] for entry in container("Launcher")["env"]}
    assert environment["PRTE_MCA_prte_default_hostfile"] == "/etc/mpi/hostfile"
    assert job()["spec"]["launcherCreationPolicy"] == "WaitForWorkersReady"
    assert not [name for name in environment if name.startswith("OMPI_MCA_orte")]


def test_resources_are_those_of_the_paper() -> None:
    assert container("Worker")["resources"] == {
        "requests": {"cpu": "2", "memory": "4Gi"},
        "limits": {"cpu": "4", "memory": "8Gi"},
    }
    assert (
        int(container("Worker")["resources"]["requests"]["cpu"]) >= job()["spec"]["slotsPerWorker"]
    )


def test_all_pods_see_the_same_run_directories() -> None:
    (claim,) = [d for d in documents() if d["kind"] == "PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for name in ("Launcher", "Worker"):
        volumes = {v["name"]: v for v in replica(name)["template"]["spec"]["volumes"]}
        mounts = {m["mountPath"]: m["name"] for m in container(name)["volumeMounts"]}
        claimed = volumes[mounts["/runs"]]["persistentVolumeClaim"]["claimName"]
        assert claimed == claim["metadata"]["name"]
        assert set(mounts.values()) <= volumes.keys()


def script() -> str:
    """What the launcher runs."""
    (text,) = container("Launcher")["args"]
    return str(text)


@pytest.mark.parametrize("resumed", [False, True])
def test_the_launcher_counts_workers_and_goes_on(tmp_path: Path, resumed: bool) -> None:
    hostfile = tmp_path / "hostfile"
    hosts = "".join(f"morsr-worker-{i}.morsr.default.svc slots=2\n" for i in range(4))
    hostfile.write_text(hosts)
    run = tmp_path / "run"
    if resumed:
        (run / "checkpoints").mkdir(parents=True)
        (run / "checkpoints" / "checkpoint-000001.h5").touch()
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "morsr").write_text('#!/bin/sh\necho "$@"\n')
    (programs / "morsr").chmod(0o755)
    text = script().replace("/etc/mpi/hostfile", str(hostfile))
    env = {"PATH": f"{programs}:/usr/bin:/bin", "PROBLEM": "/runs/p.h5", "RUN_DIR": str(run)}
    done = subprocess.run(
        ["bash", "-c", text], env=env, capture_output=True, text=True, check=True, timeout=30
    )
    tail = " --resume" if resumed else ""
    assert done.stdout.strip() == (
        f"launch -n 8 --restarts 2 -- solve /runs/p.h5 --run-dir {run} --expect-hosts 4{tail}"
    )


def test_what_the_pods_call_exists(morsr: Callable[..., Any]) -> None:
    probe = container("Worker")["startupProbe"]["exec"]["command"]
    assert probe[0] == "morsr"
    text = morsr([probe[1], "--help"]).check().out
    assert all(word in text for word in probe if word.startswith("--"))
    text = morsr(["solve", "--help"]).check().out
    for option in re.findall(r"--[a-z-]+", script().split(" -- solve")[1]):
        assert option in text


def test_the_image_has_what_the_pods_call() -> None:
    text = (HERE / "Dockerfile").read_text()
    assert "openssh-server" in text
    assert "[openmpi,report]" in text
    assert container("Worker")["command"] == ["/usr/sbin/sshd", "-De"]
    assert 'CMD ["/usr/sbin/sshd", "-De"]' in text
    stages = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(set(stages)) == 1  # built for the Python that runs it


def test_fewer_hosts_than_expected_are_refused() -> None:
    check_hosts(["a", "b", "a"], 2)
    check_hosts(["a", "a"], None)
    with pytest.raises(UsageError, match=r"3 ranks are on 1 host \(a\), 2 expected"):
        check_hosts(["a", "a", "a"], 2)
    with pytest.raises(UsageError, match="1 or more"):
        Settings(expect_hosts=0)


def test_a_run_begins_only_on_the_hosts_it_expects(
    small: Path, tmp_path: Path, morsr: Callable[..., Any]
) -> None:
    done = morsr(["solve", small, "--run-dir", tmp_path / "a", "--expect-hosts", "2"])
    assert done.code == 64
    assert len(done.err.strip().splitlines()) == 1
    assert "1 ranks are on 1 host" in done.err
    assert not (tmp_path / "a").exists()
    morsr(["solve", small, "--run-dir", tmp_path / "a", "--expect-hosts", "1"]).check()


def test_the_patch_of_autoscale_is_one_of_an_mpijob() -> None:
    patch = mpijob_patch(9, 2)
    assert patch == {"spec": {"mpiReplicaSpecs": {"Worker": {"replicas": 5}}}}
    merged = job()
    merged["spec"]["mpiReplicaSpecs"]["Worker"] |= patch["spec"]["mpiReplicaSpecs"]["Worker"]  # type: ignore[index]
    jsonschema.validate(json.loads(json.dumps(merged)), SCHEMAS["MPIJob"])


def test_a_pod_is_ready_when_nothing_needed_is_wrong() -> None:
    good = [Check("MPI library", "x"), Check("execution units", "shared", False, "bear it")]
    assert is_ready(good)
    assert not is_ready([*good, Check("run directories", "read-only", False, "choose another")])
