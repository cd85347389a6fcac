"""pubner annotates PubMed with biomedical entities."""
