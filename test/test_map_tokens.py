"""Maps of an encoder with explicit sets: tokens and their interaction come back, and retrieval uses them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import apsw
import numpy as np
import pytest
from encoder_fakes import open_tiny, save_tiny
from planted_building import full_building
from sets_encoder import random_encoder

from crossover_models.config import RetrievalSettings
from crossover_models.map_database.build import build_database, place_embeddings
from crossover_models.map_database.file_format import DatabaseError, FingerprintMismatch
from crossover_models.map_database.store import MapDatabase
from crossover_models.map_database.writer import DatabaseWriter
from crossover_models.observation import Code, Modality
from crossover_models.retrieval import PlaceIndex
from crossover_models.sets.encoder import SetsEncoder


@pytest.fixture(scope="module")
def encoder() -> SetsEncoder:
    return random_encoder()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, encoder: SetsEncoder) -> Path:
    """A map of the planted building; never written to."""
    out = tmp_path_factory.mktemp("map") / "house.xmap"
    build_database(full_building(), encoder, out)
    return out


def test_tokens_and_interaction_come_back(shared: Path, encoder: SetsEncoder) -> None:
    level = full_building().levels[0]
    expected = {place.place_id: place_embeddings(level, place, encoder) for place in level.places}
    with MapDatabase.open(shared, encoder.fingerprint) as database:
        database.verify()
        assert database.interaction is not None and encoder.interaction is not None
        assert database.interaction.to_json() == encoder.interaction.to_json()
        assert database.encoder_profile == "tiny"
        for modality in Modality:
            ids, vectors = database.embeddings("house", modality)
            tokens = database.tokens("house", modality)
            assert tokens.dtype == np.int8 and len(tokens) == len(ids) > 0
            for place_id, vector, row in zip(ids, vectors, tokens, strict=True):
                code = expected[place_id][modality]
                assert np.array_equal(vector, code.vector) and np.array_equal(row, code.tokens)


def test_retrieval_finds_the_room_by_what_its_tokens_say(shared: Path, encoder: SetsEncoder) -> None:
    kitchen = full_building().levels[0].places[0]
    code = encoder.encode_text(kitchen.text)
    with MapDatabase.open(shared, encoder.fingerprint) as database:
        index = PlaceIndex(database, RetrievalSettings())
        late = index.search(code.vector, Modality.TEXT, tokens=code.tokens)
        early = index.search(code.vector, Modality.TEXT)
        assert database.interaction is not None
        own = database.interaction.scores(code, Modality.TEXT, code.vector[None], code.tokens[None], Modality.TEXT)[0]
    score = next(place for place in late.places if place.place_id == "K1").modality_scores[Modality.TEXT]
    assert score == pytest.approx(float(own), rel=1e-5)
    assert {place.place_id for place in late.places} == {place.place_id for place in early.places} == {"K1", "S1"}
    cosine = next(place for place in early.places if place.place_id == "K1").modality_scores[Modality.TEXT]
    assert cosine == pytest.approx(1.0, abs=1e-5)


def test_maps_of_another_encoder_are_refused(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(FingerprintMismatch, match=random_encoder(1).fingerprint):
        MapDatabase.open(shared, random_encoder(1).fingerprint)
    published = open_tiny(save_tiny(tmp_path / "tiny.safetensors"))
    build_database(full_building(), published, tmp_path / "published.xmap")
    with MapDatabase.open(tmp_path / "published.xmap", published.fingerprint) as database:
        assert database.interaction is None
        assert database.tokens("house", Modality.MESH).shape == (1, 0)
        assert database.tokens("house", Modality.FLOOR_PLAN).shape == (2, 0)


def test_tokens_that_nothing_can_compare_are_not_written(tmp_path: Path, encoder: SetsEncoder) -> None:
    vector = np.eye(16, dtype=np.float32)[0]
    for interaction, tokens in (
        (None, np.zeros(8, dtype=np.int8)),
        (encoder.interaction, np.zeros(9, dtype=np.int8)),
        (encoder.interaction, np.zeros(0, dtype=np.int8)),
        (encoder.interaction, np.zeros(8, dtype=np.int16)),
    ):
        with DatabaseWriter(tmp_path / "x.xmap", "f", "p", 16, interaction) as writer:
            writer.add_building(full_building())
            with pytest.raises(DatabaseError, match=r"house/K1, text: expected .* int8 tokens"):
                writer.add_embeddings("house", Modality.TEXT, {"K1": Code(vector, tokens)})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE embeddings SET tokens=x'00'",
        "UPDATE embeddings SET tokens=NULL WHERE embedding=(SELECT min(embedding) FROM embeddings)",
        "UPDATE meta SET value='{}' WHERE key='interaction'",
        "DELETE FROM meta WHERE key='interaction'",
    ],
)
def test_damaged_tokens_are_errors(shared: Path, tmp_path: Path, statement: str) -> None:
    path = tmp_path / "bad.xmap"
    shutil.copy(shared, path)
    editor = apsw.Connection(str(path))
    editor.execute("PRAGMA journal_mode=DELETE")
    editor.execute(statement)
    editor.close()
    with pytest.raises(DatabaseError, match="damaged map database"), MapDatabase.open(path) as database:
        for modality in Modality:
            database.tokens("house", modality)


def test_an_altered_interaction_is_found(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.xmap"
    shutil.copy(shared, path)
    editor = apsw.Connection(str(path))
    editor.execute("PRAGMA journal_mode=DELETE")
    about = json.loads(next(iter(editor.execute("SELECT value FROM meta WHERE key='interaction'")))[0])
    about["reach"] = 3
    editor.execute("UPDATE meta SET value=? WHERE key='interaction'", (json.dumps(about),))
    editor.close()
    with MapDatabase.open(path) as database, pytest.raises(DatabaseError, match="was built"):
        database.verify()
