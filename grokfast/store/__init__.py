"""Run directories on disk: JSON, Parquet and safetensors, no pickle."""

from grokfast.store.checking import Health, check_store
from grokfast.store.derived import derived, derived_damage, derived_keys, derived_names, read_derived
from grokfast.store.index import indexed_rows
from grokfast.store.layout import STORE_FORMAT
from grokfast.store.packed import about_packed, pack, packed_files, unpack
from grokfast.store.store import Store
from grokfast.store.upgrade import Pruned, Upgrade, prune_versions, upgrade_store

__all__ = [
    "STORE_FORMAT",
    "Health",
    "Pruned",
    "Store",
    "Upgrade",
    "about_packed",
    "check_store",
    "derived",
    "derived_damage",
    "derived_keys",
    "derived_names",
    "indexed_rows",
    "pack",
    "packed_files",
    "prune_versions",
    "read_derived",
    "unpack",
    "upgrade_store",
]
