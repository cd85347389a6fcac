"""How Beam writes blocks down."""

from datetime import datetime
from pathlib import Path

import pytest

from pipelines.blocks.elements import AnnotatedBlock, BlockHeader, ReadBlock
from pipelines.blocks.keys import BlockKey
from pipelines.graphs.annotate import annotate_files
from pipelines.graphs.coders import BlockCoder
from pipelines.inference.checkpoints import Checkpoints
from pipelines.inference.handler import AnnotateHandler
from pipelines.output.store import DiskStore
from pipelines.output.writer import BlockWriter
from pipelines.runners.options import choose_runner
from pipelines.runtime.batch import make_pipeline
from pipelines.sources.files import BlockReader
from pipelines.telemetry.run_channel import WorkerChannel
from tests.support.blocks import NOW, block, citation, dead_letter
from worker.readers.formats import ReadRecord


def now() -> datetime:
    return NOW


def read(count: int) -> ReadBlock:
    return ReadBlock(
        BlockHeader(BlockKey("s", 0, 0), "d", complete=True),
        citations=tuple(ReadRecord(x, citation(x)) for x in range(count)),
        dead_letters=(dead_letter(count),),
    )


@pytest.mark.parametrize("given", [read(0), read(3), block([0, 2], dead_letters=[1])])
def test_blocks_survive(given: ReadBlock | AnnotatedBlock) -> None:
    coder = BlockCoder()
    assert coder.decode(coder.encode(given)) == given


def test_the_size_is_about_that_of_the_bytes() -> None:
    for given in (read(100), block(range(100), dead_letters=range(100, 200))):
        size = len(BlockCoder().encode(given))
        assert size / 5 < BlockCoder().estimate_size(given) < size * 5


def test_the_collections_of_blocks_have_the_coder(tmp_path: Path) -> None:
    pipeline = make_pipeline(choose_runner("DirectRunner", []))
    annotate_files(
        pipeline,
        [],
        reader=BlockReader(4, "c", "", None, now, WorkerChannel()),
        handler=AnnotateHandler(
            Checkpoints(""),
            device="cpu",
            threads=1,
            chunk_size=2,
            max_text_chars=None,
            clock=now,
            channel=WorkerChannel(),
        ),
        writer=BlockWriter(DiskStore(tmp_path), 4, ""),
    )
    proto, context = pipeline.to_runner_api(return_context=True)
    coders = [context.coders.get_by_id(x.coder_id) for x in proto.components.pcollections.values()]
    of_blocks = sorted(str(coder) for coder in coders if "BlockCoder" in str(coder))
    assert of_blocks == ["BlockCoder"] * 3 + ["ListCoder[BlockCoder]"]
