"""Weight files: found on disk, read without running code from them, named by their content."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from torch import Tensor

from trainers.errors import InputError
from trainers.images.image_settings import PRETRAINED


def weights_file(backbone: str, weights: str) -> Path:
    """The file of `weights` ('pretrained' or a path). Nothing is downloaded; raises InputError where it is absent."""
    if weights != PRETRAINED:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise InputError(
                f"weights: no file {path}; give a .safetensors or torch file, '{PRETRAINED}', or null for none"
            )
        return path
    import timm
    import torch

    config = timm.get_pretrained_cfg(backbone)
    if config is not None and config.hf_hub_id:
        from huggingface_hub import constants, try_to_load_from_cache

        repository = str(config.hf_hub_id)
        for name in (config.hf_hub_filename, "model.safetensors", "pytorch_model.bin"):
            found = name and try_to_load_from_cache(repository, str(name), cache_dir=constants.HF_HUB_CACHE)
            if isinstance(found, str):
                return Path(str(found))
    if config is not None and config.url:
        cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(str(config.url)).name
        if cached.is_file():
            return cached
    if config is None or not (config.hf_hub_id or config.url):
        raise InputError(f"weights: timm has no pretrained weights of '{backbone}'; give a file, or null for none")
    source = f"`hf download {config.hf_hub_id}`" if config.hf_hub_id else config.url
    raise InputError(
        f"weights: the pretrained weights of '{backbone}' are not on this disk; fetch them once ({source}), give a "
        "file, or null for none"
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Name → tensor of a weight file, without the wrappings and prefixes that trainers leave; raises InputError."""
    import pickle

    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(str(path))
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise InputError(f"weights: {path} is no file of tensors ({reason})") from error
    except Exception as error:
        # safetensors' own error is an Exception of its compiled module
        if type(error).__module__.startswith("safetensors"):
            raise InputError(f"weights: {path} is no safetensors file ({error})") from error
        raise
    while isinstance(content, dict):
        inner = next((content[key] for key in ("state_dict", "model") if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"weights: {path} holds no table of tensors; expected a model's state_dict")
    tensors: dict[str, Tensor] = content
    for prefix in ("module.", "_orig_mod."):
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def file_hash(path: Path) -> str:
    """sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_hash(backbone: str, weights: str | None) -> str | None:
    """`sha256:…` of the weight file; None for a random start.

    Raises:
        InputError: an unknown backbone (the nearest names are offered), or weights that are not on disk.
    """
    from trainers.images.backbones import check_backbone

    check_backbone(backbone)
    return None if weights is None else f"sha256:{file_hash(weights_file(backbone, weights))}"


__all__ = ["file_hash", "read_weights", "weights_file", "weights_hash"]
