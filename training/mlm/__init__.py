"""Domain adaptation: masked-language-model (MLM) training of an encoder before fine-tuning.

Devlin et al. 2019 ("BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding"); Gururangan et al. 2020 ("Don't Stop Pretraining: Adapt Language Models to Domains
and Tasks").
"""
