"""Run directories on disk: JSON, Parquet and safetensors, no pickle."""

from grokfast.store.store import Store

__all__ = ["Store"]
