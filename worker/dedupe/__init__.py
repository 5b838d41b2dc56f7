"""DEDUPE: whose answer serves whom. A client's index of what was asked; FAISS proposes, pipelines/dedup.py decides."""
