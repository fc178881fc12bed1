"""Cut texts into sub-words with a tokenizer that is learnt from them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from nlp._plain import plain

PAD, START, BLANK = 0, 1, 2
MARKS = ["[PAD]", "[START]", "[BLANK]"]


def learn(texts: Iterable[str], size: int) -> str:
    """Byte-level byte-pair merges learnt from texts (Sennrich et al. 2016, arXiv:1508.07909).

    Bytes leave no script unknown, and of the trainers in `tokenizers` this one gives the same
    answer every time.

    Returns:
        The tokenizer as JSON.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=MARKS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[START] $A", special_tokens=[("[START]", START)]
    )
    return str(tokenizer.to_str())


class Tokens:
    """Texts as sub-word ids.

    Args:
        tokenizer: as JSON.
        longest: ids kept of one text.
        shift: added to every id; 1 for a backbone's own tokenizer, so that 0 stays padding.
    """

    def __init__(self, tokenizer: str, longest: int, shift: int = 0) -> None:
        self.tokenizer: Any = Tokenizer.from_str(tokenizer)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(longest)
        self.tokenizer.encode_special_tokens = True  # a text that spells "[PAD]" is just text
        self.shift = shift

    @property
    def size(self) -> int:
        """How many ids there are, padding included."""
        return int(self.tokenizer.get_vocab_size()) + self.shift

    def encode(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Ids of each text `[n, longest of them]`, zeros after them."""
        clean = [text.encode("utf-8", "replace").decode() for text in texts]
        if not self.shift:  # a backbone's tokenizer has a form of its own
            clean = [plain(text) for text in clean]
        rows = [encoded.ids for encoded in self.tokenizer.encode_batch_fast(clean)]
        counts = np.fromiter(map(len, rows), np.int64, len(rows))
        ids = np.zeros((len(rows), max(1, int(counts.max(initial=0)))), np.int32)
        flat = (number for row in rows for number in row)
        real = np.arange(ids.shape[1]) < counts[:, None]
        ids[real] = np.fromiter(flat, np.int32, int(counts.sum())) + self.shift
        return ids
