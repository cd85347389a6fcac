"""Conversion of the checkpoint to the formats of ONNX Runtime and OpenVINO.

`python -m benchmarks.peers.export CHECKPOINT FOLDER`; existing files are kept.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.weights import all_heads_model, checkpoint_shape

FP32 = "fp32.onnx"
INT8 = "int8.onnx"
OPENVINO = "openvino.xml"


def export(checkpoint: Path, folder: Path) -> None:
    """Write all formats of a checkpoint into `folder`."""
    import torch

    shape = checkpoint_shape(checkpoint)
    model = all_heads_model(shape)
    ids = torch.arange(5, 125).reshape(3, 40)
    mask = torch.ones_like(ids)
    mask[1, 30:] = 0
    example = {"ids": ids, "mask": mask, "case": torch.zeros_like(ids)}
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / FP32).exists():
        _to_onnx(model, example, folder, shape.max_pieces)
    if not (folder / INT8).exists():
        _to_int8(folder)
    if not (folder / OPENVINO).exists():
        _to_openvino(model, example, folder)


def _to_onnx(model: object, example: Mapping[str, object], folder: Path, longest: int) -> None:
    import torch
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    texts = torch.export.Dim("texts", min=1, max=4096)
    pieces = torch.export.Dim("pieces", min=2, max=longest)
    raw = folder / "raw.onnx"
    torch.onnx.export(
        model,  # type: ignore[arg-type]
        tuple(example.values()),
        raw,
        input_names=list(example),
        output_names=["logits"],
        dynamic_shapes=({0: texts, 1: pieces},) * len(example),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    fused = optimizer.optimize_model(
        str(raw), model_type="bert", optimization_options=FusionOptions("bert"), opt_level=0
    )
    fused.save_model_to_file(str(folder / f"{FP32}.tmp"))
    (folder / f"{FP32}.tmp").replace(folder / FP32)
    raw.unlink()


def _to_int8(folder: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        folder / FP32, folder / f"{INT8}.tmp", weight_type=QuantType.QInt8, per_channel=True
    )
    (folder / f"{INT8}.tmp").replace(folder / INT8)


def _to_openvino(model: object, example: Mapping[str, object], folder: Path) -> None:
    """Convert with OpenVINO's PyTorch reader, since its command-line converter sends telemetry."""
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    frontend = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(model, example_input=example)
    converted = frontend.convert(frontend.load(decoder))
    for place, name in zip(converted.inputs, example, strict=True):
        place.get_tensor().set_names({name})
    openvino.serialize(converted, folder / f"new-{OPENVINO}", folder / f"new-{OPENVINO[:-4]}.bin")
    (folder / f"new-{OPENVINO[:-4]}.bin").replace(folder / f"{OPENVINO[:-4]}.bin")
    (folder / f"new-{OPENVINO}").replace(folder / OPENVINO)


if __name__ == "__main__":
    export(Path(sys.argv[1]), Path(sys.argv[2]))
