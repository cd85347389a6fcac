"""Masked-language-model training of an encoder on text of its domain, before it learns to tag.

Devlin et al. 2019 ("BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding"); Gururangan et al. 2020 ("Don't Stop Pretraining: Adapt Language Models to Domains
and Tasks").
"""
