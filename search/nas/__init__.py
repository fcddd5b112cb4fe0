"""Architecture search: networks that choose their mixer, heads, memory and channel mixer layer by layer."""
