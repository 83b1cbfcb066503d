"""CMU-MOSI as published with the ACL 2017 features: what its two variants here share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dmil.data import Task
from dmil.seeds import generator

from ._assemble import read_numbers, read_table
from ._download import DataError
from ._files import RawFile

BASE = (
    "https://raw.githubusercontent.com/declare-lab/multimodal-deep-learning/"
    "111b401d867c14a1dcd930fd2b2ab58a5eca3f70/bc-LSTM/data/"
)
CHECKSUMS = {
    "audio/audio_test0.csv": "ddd17eeefd3d951d51d4e2ef8a0d132652d8161e1886f71eb7262b7a14bffff6",
    "audio/audio_train0.csv": "5435398a54664e7b00304587dc59ae84a438852be033c2a2fba779588624a2a1",
    "text/text_test0.csv": "a343e22272919d1384c2075dbcdd5fef5aa9f9366b0552a83f7c3147b64b047a",
    "text/text_train0.csv": "cc327045db6cc361a08b4037b97bb24de4ddb5efb381468c4835cc4a60674668",
    "text_test.csv": "f3b735070bf07ceff7a6ef6c8f4c32757e988de484e35bd6d38b2aecef851a59",
    "text_train.csv": "73770b6302ad0f7a51f4eddcae6788efde4d0b6802e09f78249d5b538d1c1d67",
    "transcripts.csv": "e7689e6d70720addd2a6b316419d245a68839c32b014ff426c406063ee777466",
    "video/video_test0.csv": "cab836253d81100f59d533fa2ff65cd53c486be3ec9fd82203c5e25a7a77265f",
    "video/video_train0.csv": "b6efc0413132d627efd06f67f1706830e775e90af9a75696f535c48dbc73f12f",
}
N_ROWS = {"train": 1447, "test": 752}
N_FEATURES = {"audio": 73, "text": 100, "video": 100}
VALID_SHARE, N_CANDIDATES = 0.2, 200

TASK = Task("classification", 2, ("negative", "positive"))
SPLIT_RULE = (
    "the published 31 test videos (752 utterances); of the 62 published training videos 12 are validation, drawn "
    "so that size and class balance come close to a fifth of the training set; no video in two splits"
)
CITATION = (
    "Zadeh, Zellers, Pincus, Morency: MOSI: Multimodal Corpus of Sentiment Intensity and Subjectivity Analysis in "
    "Online Opinion Videos, arXiv 1606.06259, 2016. Features: Poria, Cambria, Hazarika, Majumder, Zadeh, Morency: "
    "Context-Dependent Sentiment Analysis in User-Generated Videos, ACL 2017."
)
LICENCE = "MIT (repository of the features); CMU-MOSI is offered for research"
CONSTANT_TRAP = (
    "The constant answer 'positive' is right on 467 of 752 test utterances (62.10 %): compare with that row."
)


def raw_files(*modalities: str) -> tuple[RawFile, ...]:
    """Transcripts, row numbers and the feature files of ``modalities``."""
    wanted = [name for name in CHECKSUMS if "/" not in name or name.split("/")[0] in modalities]
    return tuple(RawFile(f"mosi/{name}", BASE + name, CHECKSUMS[name]) for name in wanted)


@dataclass(frozen=True)
class Utterances:
    """All 2199, published training part first. target: (2199,) int64; published: row numbers of both parts."""

    ids: tuple[str, ...]
    videos: tuple[str, ...]
    texts: tuple[str, ...]
    target: Tensor
    published: dict[str, range]


def read_utterances(root: Path) -> Utterances:
    """Raises DataError where a file is not as published."""
    folder = root / "mosi"
    transcripts = read_table(folder / "transcripts.csv", n_rows=2199, n_columns=4, encoding="latin-1")
    order: list[int] = []
    for part, n_rows in N_ROWS.items():
        table = read_numbers(folder / f"text_{part}.csv", n_rows=n_rows, n_columns=101)
        order += [int(number) for number in table[:, 0].tolist()]
    if sorted(order) != list(range(2199)):
        raise DataError(f"{folder}: text_train.csv and text_test.csv do not name every transcript once")
    rows = [transcripts[i] for i in order]
    return Utterances(
        ids=tuple(row[0] for row in rows),
        videos=tuple(row[0].rsplit("_", 1)[0] for row in rows),
        texts=tuple(row[1] for row in rows),
        target=torch.tensor([int(row[3]) for row in rows]),
        published={"train": range(0, 1447), "test": range(1447, 2199)},
    )


def describe(root: Path) -> dict[str, str]:
    """Utterance -> what is said in it; empty where the transcripts are not below ``root``, for they are no part of what
    is prepared. Offered for research: they go into the tracking store and onto pages of results, and no further.

    Raises DataError where they are not as pinned.
    """
    (file,) = (file for file in raw_files() if file.path == "mosi/transcripts.csv")
    if not file.is_present(root):
        return {}
    rows = read_table(file.fetch(root), n_rows=2199, n_columns=4, encoding="latin-1")
    return {row[0]: row[1] for row in rows}


def read_features(root: Path, modality: str, utterances: Utterances) -> Tensor:
    """Published features (2199, d), row by row those of ``utterances``. Raises DataError where a label disagrees."""
    parts = []
    for part, n_rows in N_ROWS.items():
        path = root / "mosi" / modality / f"{modality}_{part}0.csv"
        table = read_numbers(path, n_rows=n_rows, n_columns=N_FEATURES[modality] + 1)
        expected = utterances.target[list(utterances.published[part])]
        n_wrong = int((table[:, -1] != expected).sum())
        if n_wrong:
            raise DataError(f"{path}: {n_wrong} of {n_rows} labels differ from those of transcripts.csv")
        parts.append(table[:, :-1])
    return torch.cat(parts)


def split_rows(utterances: Utterances) -> dict[str, list[int]]:
    """Row numbers of train, valid and test: of many random draws of 12 videos the best balanced one."""
    train = utterances.published["train"]
    videos = sorted({utterances.videos[i] for i in train})
    positive = utterances.target.double()
    share = positive[list(train)].mean()
    rng = generator("split", "mosi")
    draws = []
    for _ in range(N_CANDIDATES):
        order = torch.randperm(len(videos), generator=rng).tolist()
        chosen = {videos[i] for i in order[: round(VALID_SHARE * len(videos))]}
        rows = [i for i in train if utterances.videos[i] in chosen]
        off = abs(positive[rows].mean() - share) + abs(len(rows) / len(train) - VALID_SHARE)
        draws.append((float(off), rows))
    valid = min(draws)[1]
    held_out = set(valid)
    return {
        "train": [i for i in train if i not in held_out],
        "valid": valid,
        "test": list(utterances.published["test"]),
    }
