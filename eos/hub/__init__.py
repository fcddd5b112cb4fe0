"""Hugging Face transformers: importing this registers our models there, and reads public checkpoints of others.

import eos.hub
model = AutoModelForCausalLM.from_pretrained("my-model")
"""

from eos.errors import EOSError, install

try:
    from transformers import AutoConfig, AutoModelForCausalLM
except ImportError as error:
    raise EOSError(f"eos.hub needs transformers: {install('hub')}") from error

from eos.hub.checkpoint import load_checkpoint
from eos.hub.pretrained import EOSConfig, EOSForCausalLM

AutoConfig.register(EOSConfig.model_type, EOSConfig, exist_ok=True)
AutoModelForCausalLM.register(EOSConfig, EOSForCausalLM, exist_ok=True)

__all__ = ["EOSConfig", "EOSForCausalLM", "load_checkpoint"]
