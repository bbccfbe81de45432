"""The options of everything that trains: train and collapse share them."""

from __future__ import annotations

import click

from hvdtrain.commands.option_group import option_group

run_options = option_group(
    click.option(
        "--checkpoint-minutes",
        type=click.FloatRange(0, min_open=True),
        default=15.0,
        show_default=True,
        help="Write a checkpoint at least this often.",
    ),
    click.option(
        "--checkpoint-epochs",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Write one after every so many epochs, too.",
    ),
    click.option(
        "--no-attest",
        is_flag=True,
        help="Go on though threads are not on the cores that the core map has for them.",
    ),
    click.option("--tensorboard", is_flag=True, help="Write TensorBoard's event files as well."),
)
