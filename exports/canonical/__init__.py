"""Everything a workspace knows of its pairs: WebDataset shards, parquet, GLB."""
