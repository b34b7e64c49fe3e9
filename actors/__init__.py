"""The auditor's steps as Ray work: plain actors over fixed shards. `auditor` knows nothing of this."""
