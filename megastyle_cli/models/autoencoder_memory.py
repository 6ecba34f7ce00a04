"""Autoencoders within memory: where an image does not fit as a whole, it is processed in tiles.

At 2048 px an autoencoder of FLUX or Qwen-Image takes about 4 GiB for one image in bfloat16; in
tiles a quarter of that or less. Tiles overlap and are blended, so that pixels near their edges
differ slightly from those of the whole image: therefore only after memory ran out.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from megastyle_cli.core.errors import is_out_of_memory

log = logging.getLogger(__name__)


def tile(autoencoder: Any) -> bool:
    """Makes an autoencoder of diffusers work in tiles from now on; whether it can and did not."""
    if not hasattr(autoencoder, "enable_tiling") or getattr(autoencoder, "use_tiling", True):
        return False
    autoencoder.enable_tiling()
    log.warning(
        "the autoencoder does not fit into memory for a whole image: it continues in tiles, whose"
        " edges are blended"
    )
    return True


def within_memory(autoencoder: Any, run: Callable[[], Tensor]) -> Tensor:
    """What `run` returns, which encodes or decodes; if memory runs out, it runs again in tiles."""
    try:
        return run()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        failed = error.with_traceback(None)  # it would hold the tensors
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if not tile(autoencoder):
        raise failed
    return run()
