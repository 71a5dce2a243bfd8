"""Sample embeddings, what made them, and the study of losses and temperatures."""
