"""Writing a version of a run, whole or not at all."""

from __future__ import annotations

import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from grokfast.checksums import sha256_of
from grokfast.store.atomic import sync, write_atomically, write_json
from grokfast.store.merge import Content
from grokfast.store.parquet import write_history

_DRAFTS_LIVE = 3600.0  # seconds after which a draft has been left behind by a killed process


def write_version(home: Path, content: Content) -> Path:
    """Write a version and make it the one in force; if that fails nothing is left of it.

    Args:
        home: The run's folder.
        content: What to write.

    Returns:
        The version's folder.

    Raises:
        OSError: If it cannot be written, as do safetensors and DuckDB with errors of their own.
    """
    version = f"v{time.time_ns():x}-{secrets.token_hex(2)}"
    draft = home / f".tmp-{version}"
    try:
        draft.mkdir()
        write_history(draft / "history.parquet", content.history)
        for name, arrays in content.tensors.items():
            save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, draft / f"{name}.safetensors")
        files = {file.name: _seal(file) for file in sorted(draft.iterdir())}
        write_json(draft / "run.json", {**content.record, "files": files}, durable=False)
        digest = sha256_of(draft / "run.json")
        for file in draft.iterdir():
            sync(file)
        sync(draft)
        draft.rename(home / version)
        sync(home)
        write_atomically(home / "current", lambda pointer: pointer.write_text(f"{version}\n{digest}\n"))
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return home / version


def _seal(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256_of(file)}


def remove_drafts(home: Path) -> None:
    """Remove what killed processes left behind long ago."""
    for draft in home.glob(".tmp-*"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > _DRAFTS_LIVE:
                shutil.rmtree(draft) if draft.is_dir() else draft.unlink()
