"""Whether a checkpoint fits the model that it is loaded into."""

# The hub's Qwen2-VL checkpoints say `visual`, those saved with the module names of newer transformers `model.visual`,
# which transformers' own conversion would take for a part of the language model (5.23).
KEY_MAPPING = {r"^model\.visual\.": "visual."}
