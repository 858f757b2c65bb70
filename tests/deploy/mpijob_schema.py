"""Schema of what deploy/kubernetes/mpijob.yaml may contain, unknown fields refused.

Written down from the API of the MPI Operator (kubeflow.org/v2beta1: MPIJobSpec, RunPolicy,
SchedulingPolicy, ReplicaSpec, whole) and of Kubernetes core/v1 (the fields that a manifest of ours
could use). A cluster accepts misspelt fields and drops them; here they are errors.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
QUANTITY: Schema = {"type": "string", "pattern": r"^[0-9.]+(m|[kMGTPE]i?)?$"}
NAME: Schema = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}


def record(fields: Schema, *required: str) -> Schema:
    """An object that has these fields and no others."""
    return {
        "type": "object",
        "properties": fields,
        "required": list(required),
        "additionalProperties": False,
    }


def many(item: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": item}


METADATA = record(
    {"name": NAME, "namespace": NAME, "labels": TEXTS, "annotations": TEXTS, "generateName": TEXT}
)
RESOURCES = record(
    {"requests": {"type": "object", "additionalProperties": QUANTITY},
     "limits": {"type": "object", "additionalProperties": QUANTITY}}
)  # fmt: skip
_PORT = {"anyOf": [COUNT, TEXT]}
PROBE = record(
    {"exec": record({"command": many(TEXT)}, "command"),
     "tcpSocket": record({"port": _PORT, "host": TEXT}, "port"),
     "httpGet": record({"port": _PORT, "path": TEXT, "scheme": TEXT, "host": TEXT}, "port"),
     "initialDelaySeconds": COUNT, "periodSeconds": COUNT, "timeoutSeconds": COUNT,
     "successThreshold": COUNT, "failureThreshold": COUNT, "terminationGracePeriodSeconds": COUNT}
)  # fmt: skip
CONTAINER = record(
    {"name": NAME, "image": TEXT, "imagePullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
     "command": many(TEXT), "args": many(TEXT), "workingDir": TEXT,
     "env": many(record({"name": TEXT, "value": {"type": "string"}}, "name")),
     "ports": many(
         record({"containerPort": COUNT, "name": NAME, "protocol": TEXT}, "containerPort")),
     "resources": RESOURCES,
     "volumeMounts": many(
         record({"name": NAME, "mountPath": TEXT, "subPath": TEXT, "readOnly": FLAG}, "name",
                "mountPath")),
     "startupProbe": PROBE, "readinessProbe": PROBE, "livenessProbe": PROBE,
     "securityContext": record({"runAsUser": COUNT, "runAsNonRoot": FLAG,
                                "allowPrivilegeEscalation": FLAG})},
    "name",
)  # fmt: skip
VOLUME = record(
    {"name": NAME,
     "persistentVolumeClaim": record({"claimName": NAME, "readOnly": FLAG}, "claimName"),
     "emptyDir": record({"medium": {"enum": ["", "Memory", "HugePages"]}, "sizeLimit": QUANTITY}),
     "configMap": record({"name": NAME, "optional": FLAG}), "secret": record({"secretName": NAME})},
    "name",
)  # fmt: skip
SPREAD = record(
    {"maxSkew": {"type": "integer", "minimum": 1}, "topologyKey": TEXT,
     "whenUnsatisfiable": {"enum": ["DoNotSchedule", "ScheduleAnyway"]},
     "labelSelector": record({"matchLabels": TEXTS})},
    "maxSkew", "topologyKey", "whenUnsatisfiable",
)  # fmt: skip
POD = record(
    {"containers": {**many(CONTAINER), "minItems": 1}, "initContainers": many(CONTAINER),
     "volumes": many(VOLUME), "terminationGracePeriodSeconds": COUNT,
     "topologySpreadConstraints": many(SPREAD), "nodeSelector": TEXTS, "serviceAccountName": NAME,
     "imagePullSecrets": many(record({"name": NAME})), "hostIPC": FLAG, "hostNetwork": FLAG,
     "tolerations": many(record({"key": TEXT, "operator": TEXT, "value": TEXT, "effect": TEXT,
                                 "tolerationSeconds": COUNT}))},
    "containers",
)  # fmt: skip
REPLICA = record(
    {"replicas": {"type": "integer", "minimum": 0},
     "restartPolicy": {"enum": ["Always", "OnFailure", "Never", "ExitCode"]},
     "template": record({"metadata": METADATA, "spec": POD}, "spec")}
)  # fmt: skip
SCHEDULING = record(
    {"minAvailable": COUNT, "queue": TEXT, "priorityClass": TEXT, "scheduleTimeoutSeconds": COUNT,
     "minResources": {"type": "object", "additionalProperties": QUANTITY}}
)  # fmt: skip
RUN_POLICY = record(
    {"cleanPodPolicy": {"enum": ["All", "Running", "None"]}, "ttlSecondsAfterFinished": COUNT,
     "activeDeadlineSeconds": COUNT, "backoffLimit": COUNT, "suspend": FLAG, "managedBy": TEXT,
     "schedulingPolicy": SCHEDULING}
)  # fmt: skip
MPI_JOB = record(
    {"apiVersion": {"const": "kubeflow.org/v2beta1"}, "kind": {"const": "MPIJob"},
     "metadata": METADATA,
     "spec": record(
         {"slotsPerWorker": COUNT, "runPolicy": RUN_POLICY, "sshAuthMountPath": TEXT,
          "launcherCreationPolicy": {"enum": ["AtStartup", "WaitForWorkersReady"]},
          "runLauncherAsWorker": FLAG, "mpiImplementation": {"enum": ["OpenMPI", "Intel", "MPICH"]},
          "mpiReplicaSpecs": record({"Launcher": REPLICA, "Worker": REPLICA}, "Launcher")},
         "mpiReplicaSpecs")},
    "apiVersion", "kind", "metadata", "spec",
)  # fmt: skip
CLAIM = record(
    {"apiVersion": {"const": "v1"}, "kind": {"const": "PersistentVolumeClaim"},
     "metadata": METADATA,
     "spec": record(
         {"accessModes": many({"enum": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany",
                                        "ReadWriteOncePod"]}),
          "resources": RESOURCES, "storageClassName": TEXT, "volumeName": NAME,
          "volumeMode": {"enum": ["Filesystem", "Block"]}},
         "accessModes", "resources")},
    "apiVersion", "kind", "metadata", "spec",
)  # fmt: skip
SCHEMAS: dict[str, Schema] = {"MPIJob": MPI_JOB, "PersistentVolumeClaim": CLAIM}
