"""How long an answer takes, stage by stage: through the nodes and DDS, and through the core alone."""
