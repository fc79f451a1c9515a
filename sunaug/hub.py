"""Bundles and cubes on the Hugging Face Hub, by their id.

``hf://org/name`` names a repository, ``hf://org/name/rare.zarr`` a folder in it, ``hf://org/name@v1.0`` a revision;
``hf://datasets/org/name`` and ``hf://models/org/name`` say which kind of repository it is, otherwise both are tried.
What is downloaded stays in the Hub's own cache (``HF_HOME``), and another server is asked with ``HF_ENDPOINT``; keys
come from ``HF_TOKEN``. The extra ``hub`` has what this needs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sunaug.errors import SunaugError, UsageError

__all__ = ["HubId", "download", "parse_hub_id"]

_NAME = r"[A-Za-z0-9][\w.-]*"
_ID = re.compile(
    rf"hf://((?P<kind>datasets|models)/)?(?P<repository>{_NAME}/{_NAME})(/(?P<folder>[^@]+))?(@(?P<revision>[^@]+))?"
)
_PLAIN = re.compile(rf"{_NAME}/{_NAME}")
_MARKS = ("zarr.json", "bundle.json", "SYNTHETIC.json")
"""One of these files is in the folder of a cube, a bundle, an export."""


@dataclass(frozen=True)
class HubId:
    """A repository on the Hub, or a folder in one.

    Attributes
    ----------
    repository : str
        ``org/name``.
    kinds : tuple of {"dataset", "model"}
        Kinds of repository to try, in this order.
    folder : str
        Empty for the whole repository.
    revision : str or None
        Branch, tag or commit; the default branch if None.
    """

    repository: str
    kinds: tuple[str, ...] = ("dataset", "model")
    folder: str = ""
    revision: str | None = None


def parse_hub_id(source: str | Path) -> HubId | None:
    """Read an id of the Hub.

    Parameters
    ----------
    source : str or pathlib.Path
        ``hf://...``, or ``org/name`` where neither that nor a folder ``org`` is here.

    Returns
    -------
    HubId or None
        None where it is something else: a path, another URL, the name of a bundle.

    Raises
    ------
    UsageError
        If it starts with ``hf://`` and is no id.
    """
    text = str(source)
    if not text.startswith("hf://"):
        # A file that is missing from a folder is a slip of the pen, and no reason to ask the network.
        plain = _PLAIN.fullmatch(text) and not text.endswith(".zarr") and not Path(text).parent.exists()
        return HubId(text) if plain else None
    if not (found := _ID.fullmatch(text)):
        raise UsageError(f"{text}: not an id of the Hugging Face Hub; write hf://org/name, or hf://org/name/folder.")
    kinds = (found["kind"].removesuffix("s"),) if found["kind"] else HubId.kinds
    return HubId(found["repository"], kinds, (found["folder"] or "").strip("/"), found["revision"])


def download(hub_id: HubId) -> Path:
    """Download a cube, a bundle or an export, unless it is in the Hub's cache already.

    Parameters
    ----------
    hub_id : HubId

    Returns
    -------
    pathlib.Path
        Its folder. Without `HubId.folder` that of the repository, or the only one in it that holds a cube or a bundle.

    Raises
    ------
    UsageError
        If huggingface_hub is not installed, or there is no such repository or nothing that can be read in it.
    SunaugError
        If the Hub cannot be reached.
    """
    root = _snapshot(hub_id)
    if hub_id.folder:
        found = [root / hub_id.folder] if _readable(root / hub_id.folder) else []
    elif _readable(root):
        found = [root]
    else:
        found = sorted(one for one in root.iterdir() if one.is_dir() and _readable(one))
    if len(found) == 1:
        return found[0]
    where = f"{hub_id.repository}/{hub_id.folder}".rstrip("/")
    if found:
        names = ", ".join(one.name for one in found)
        raise UsageError(f"hf://{where}: holds {names}; name one of them, as hf://{where}/{found[0].name}.")
    raise UsageError(f"hf://{where}: holds no synthetic cube and no generator bundle; name the folder of one.")


def _readable(folder: Path) -> bool:
    return any((folder / mark).is_file() for mark in _MARKS)


def _snapshot(hub_id: HubId) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
    except ImportError:
        raise UsageError(
            f"{hub_id.repository}: no such path here, and reading from the Hugging Face Hub needs huggingface_hub: pip "
            "install 'sunaug[hub]'."
        ) from None
    wanted = [f"{hub_id.folder}/*"] if hub_id.folder else None
    for kind in hub_id.kinds:
        try:
            return Path(
                snapshot_download(hub_id.repository, repo_type=kind, revision=hub_id.revision, allow_patterns=wanted)
            )
        except RepositoryNotFoundError:
            continue
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            reason = " ".join(str(error).split())
            raise SunaugError(
                f"{hub_id.repository}: no such path here, and cannot be had from the Hugging Face Hub ({reason}); "
                "check the name, the network, HF_ENDPOINT and HF_TOKEN."
            ) from None
    raise UsageError(
        f"{hub_id.repository}: no such path here, and no such repository on the Hugging Face Hub; check the name, or "
        "set HF_TOKEN if it is private."
    )
