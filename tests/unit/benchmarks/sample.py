"""Results as a run of the benchmark gives them, made of round figures."""

from typing import Any

from benchmarks.growth import growth_entry
from benchmarks.memory import Mark
from benchmarks.results import Row, Sample, results_json


def limit() -> dict[str, Any]:
    return {
        "bf16_flops": 3e12,
        "fp32_flops": 2e11,
        "int8_ops": 5e12,
        "tokenizer_wordpieces_per_s": 200_000.0,
        "tokenizer_citations_per_s": 600.0,
        "memory_bytes_per_s": 2e10,
    }


def results() -> dict[str, Any]:
    rows = [
        Row("tagger", [Sample(1000, 300_000, 10.0), Sample(900, 270_000, 10.0)], {"what": "ours"}),
        Row("hf-default", [Sample(40, 12_000, 10.0)], {"what": "theirs"}),
        Row("openvino", [Sample(500, 150_000, 10.0)]),
        Row("pipeline-flink-1", [Sample(450, 135_000, 10.0)], {"threads": 1, "parallelism": 1}),
        Row("pipeline-flink-2", [Sample(810, 243_000, 10.0)], {"threads": 1, "parallelism": 2}),
    ]
    marks = [Mark(n, n / 100, 800.0) for n in range(500, 10_001, 500)]
    machine = {
        "date": "2026-01-31",
        "processor": "Some <CPU> & Co",
        "cores": 2,
        "memory_gib": 24.0,
        "system": "Linux 6",
        "avx512_bf16": True,
        "amx_bf16": True,
        "gpu": None,
        "versions": {"torch": "2.9"},
    }
    settings = {
        "quick": False,
        "citations": 1000,
        "mean_wordpieces": 300.0,
        "heads": ["a", "b"],
        "device": "cpu",
        "threads": 2,
        "repetitions": 3,
        "seconds": 10.0,
    }
    return results_json(
        machine=machine,
        settings=settings,
        limit=limit(),
        rows=rows,
        parameters=10_650_000,
        more={
            "startup": {"help_s": 0.2, "first_batch_s": 6.0},
            "profile": {
                "wall_s": 10.0,
                "cpu_s": 19.0,
                "stages": {"encoder": 18.0, "decoding": 0.6, "reading": 0.4},
            },
            "agreement": {
                "citations": 1000,
                "reference": "torch-fp32",
                "tagger": {
                    "mentions": 990,
                    "reference_mentions": 1000,
                    "share_different": 0.0123,
                },
            },
            "scores": {"ncbi-disease": 0.8512},
            "scores, fp32": {"ncbi-disease": 0.8513},
            "left_out": {},
            "growth": {
                "citations": 10_000,
                "share_of_sentences": 0.25,
                "mean_characters": 700.0,
                "tagger": growth_entry(marks),
                "parquet_bytes_per_citation": {
                    "citations": 900.0,
                    "mentions": 350.0,
                    "dead_letters": 1.0,
                    "all": 1251.0,
                    "mentions_per_citation": 12.5,
                },
            },
        },
    )
