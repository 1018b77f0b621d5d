"""What the scripts share as commands: flags, how they speak, how they end. Nothing of the library imports it.

May import ``data_paths``, ``model.adapter_info`` and what lies below.
"""
