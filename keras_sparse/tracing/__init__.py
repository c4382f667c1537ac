"""The products of a traced model, the weights they belong to, and their multiply-adds."""
