"""The study of Wang & Liu (CVPR 2021) on data from packages: `python -m sample_data.study`.

plan.py       what is trained: data sets, losses, temperatures, seeds
training.py   one run: train an encoder, save what it sees
analysis.py   cl-analyze compare and report on what was saved; one table over the seeds
figures.py    the study's own figures, from that table
"""
