"""Jobs of every kind that services serve, ordinary and hostile, each with what must be found of it in W&B."""
