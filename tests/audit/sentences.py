"""Sentence embeddings of a MiniLM folder through transformers: mean of the last hidden states."""

from pathlib import Path

import numpy as np

SENTENCES = [
    "The level of the river fell after the dam was built.",
    "Which of the many solutions will training pick?",
    "a",
    "Gradient noise has no component along an orbit, so the charge drifts.",
    "Der Hund bellt, und die Karawane zieht weiter.",
]


def embeddings(folder: Path) -> np.ndarray:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    batch = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    mean = (states * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(mean, dim=1).double().numpy()
