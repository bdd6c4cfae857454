"""Run directories on disk: JSON, Parquet and safetensors, no pickle."""

from grokfast.store.derived import derived, derived_keys, derived_names, read_derived
from grokfast.store.index import indexed_rows
from grokfast.store.store import STORE_FORMAT, Store

__all__ = ["STORE_FORMAT", "Store", "derived", "derived_keys", "derived_names", "indexed_rows", "read_derived"]
