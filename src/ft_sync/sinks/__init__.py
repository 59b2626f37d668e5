"""Where runs go: Weights & Biases, online (`online.py`) or as offline run folders (`offline.py`)."""
