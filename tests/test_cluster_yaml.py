import json
from pathlib import Path

import jsonschema
import ray
import yaml

ROOT = Path(__file__).resolve().parent.parent


def test_it_is_what_the_cluster_launcher_takes():
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    cluster = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    jsonschema.validate(cluster, schema)
    kinds = cluster["available_node_types"]
    assert cluster["head_node_type"] in kinds
    # What the schema does not check: Ray refuses these when it starts.
    for name, kind in kinds.items():
        assert set(kind) <= {"resources", "node_config", "min_workers", "max_workers"}
        assert kind.get("min_workers", 0) <= kind.get("max_workers", 0) <= cluster["max_workers"] or (
            name == cluster["head_node_type"]
        )


def test_every_node_has_the_token_and_asks_for_it():
    cluster = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    assert cluster["file_mounts"]["/home/ubuntu/.ray/auth_token"] == "~/.ray/auth_token"
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        starts = [command for command in cluster[key] if "ray start" in command]
        assert starts and all(command.startswith("RAY_AUTH_MODE=token ") for command in starts)
    assert "--dashboard-host=127.0.0.1" in str(cluster["head_start_ray_commands"])
