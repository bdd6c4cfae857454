"""Run directories on disk: JSON, Parquet and safetensors, no pickle."""

from grokfast.store.derived import derived, derived_keys, derived_names, read_derived
from grokfast.store.index import indexed_rows
from grokfast.store.layout import STORE_FORMAT
from grokfast.store.store import Store
from grokfast.store.upgrade import Pruned, Upgrade, prune_versions, upgrade_store

__all__ = [
    "STORE_FORMAT",
    "Pruned",
    "Store",
    "Upgrade",
    "derived",
    "derived_keys",
    "derived_names",
    "indexed_rows",
    "prune_versions",
    "read_derived",
    "upgrade_store",
]
