"""The checkpoint as its peers load it gives what pubner's own model gives."""

from benchmarks.weights import checkpoint_shape, layer_parameters
from worker.checkpoint.folder import default_checkpoint


def test_only_the_layers_parameters_count() -> None:
    shapes = {
        "encoder.embeddings.word_embeddings.weight": [30522, 384],
        "encoder.encoder.layer.0.attention.self.query.weight": [384, 384],
        "encoder.encoder.layer.11.output.dense.bias": [384],
        "heads.weight": [40, 384],
    }
    assert layer_parameters(shapes) == 384 * 384 + 384


def test_the_shipped_encoder_has_ten_and_two_thirds_million_in_its_layers() -> None:
    shape = checkpoint_shape(default_checkpoint())
    assert shape.parameters == 10_646_784
    assert (shape.hidden, shape.intermediate, shape.layers) == (384, 1536, 6)
