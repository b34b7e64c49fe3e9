"""The auditor's steps run on Ray here: plain actors work on fixed shards. `auditor` knows nothing of this."""
