"""The embedded world: a small, real benchmark cut from satellite imagery, and its tiny vision-language model."""
