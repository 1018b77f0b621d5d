"""What long work needs: atomic writes, reading that names damaged files, logs that survive a kill, progress, processes.

Imports nothing of this project. torch.distributed is imported where several processes run.
"""
