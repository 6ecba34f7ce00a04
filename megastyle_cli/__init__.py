"""Composable Unix tools for image style."""

import os

__version__ = "0.2.0"

# Libraries that report their use over the network read these when they are imported. Whatever
# starts the toolkit imports this package first, and child processes inherit its environment.
NO_TELEMETRY = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime, whose telemetry is on by default
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, transformers, diffusers
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",  # a convention that other libraries follow
}
for _variable, _off in NO_TELEMETRY.items():
    if not os.environ.get(_variable):
        os.environ[_variable] = _off
