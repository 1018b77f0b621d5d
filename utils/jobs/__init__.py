"""What long work needs: atomic writes, logs that survive a kill, progress, several processes on one job.

Imports nothing of this project. torch.distributed is imported where several processes run.
"""
