"""A study on a cluster, from a laptop: the tree is packed, a job submitted and followed, its report brought back."""
