"""Our language models as models of transformers: save_pretrained, from_pretrained and generate."""

from itertools import takewhile
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from eos.compose.model import check_model, flat
from eos.config import ModelRecipe
from eos.errors import DataError, RunError
from eos.models import Cache, LanguageModel
from eos.tasks.task import IGNORED


class EOSConfig(PreTrainedConfig):  # type: ignore[misc]
    """The configuration of :class:`EOSForCausalLM`: a model recipe, whole, and the vocabulary.

    Arguments:
        recipe: the data of a model recipe, checked like any other when a model is built: it runs no code.
        vocab_size: number of token ids.
    """

    model_type = "eos"

    def __init__(self, recipe: dict[str, Any] | None = None, vocab_size: int = 256, **kwargs: Any) -> None:
        self.recipe = recipe
        self.vocab_size = vocab_size
        super().__init__(**{"tie_word_embeddings": False, **kwargs})

    @classmethod
    def of(cls, model: LanguageModel, **kwargs: Any) -> "EOSConfig":
        """The configuration of a model."""
        return cls(recipe=flat(model.recipe), vocab_size=model.vocabulary, **kwargs)

    def checked(self) -> ModelRecipe:
        """The recipe.

        Raises:
            RecipeError: there is none, or a broken one.
        """
        return check_model(self.recipe, source="config.json: recipe")


class DecodingCache(transformers.Cache):  # type: ignore[misc]
    """The one cache of all mixers, with the number of tokens that it has seen."""

    is_compileable = False

    def __init__(self, cache: Cache) -> None:
        super().__init__(layers=[])
        self.cache = cache
        self.seen = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """How many tokens it has seen."""
        return self.seen

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Row b goes on from what row beam_idx[b] has seen."""
        self.cache.reorder(beam_idx)


class EOSForCausalLM(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """A language model of stages behind the interface of transformers.

    Arguments:
        config: what to build, with fresh weights; :meth:`of` wraps a model that is there.
    """

    config_class = EOSConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    _is_stateful = True

    def __init__(self, config: EOSConfig, model: LanguageModel | None = None) -> None:
        super().__init__(config)
        self.model = LanguageModel(config.checked(), config.vocab_size) if model is None else model
        self._tied_weights_keys = self.get_expanded_tied_weights_keys()
        self.post_init()

    @classmethod
    def of(cls, model: LanguageModel, **kwargs: Any) -> "EOSForCausalLM":
        """This model, not a copy; keywords go into its configuration (``eos_token_id``, say)."""
        return cls(EOSConfig.of(model, **kwargs), model)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """The model that ``save_pretrained`` wrote; keywords as transformers has them.

        Raises:
            RunError: pickled weights, which may run code, are asked for; or the weights are not those of the recipe.
        """
        if not kwargs.setdefault("use_safetensors", True):
            raise RunError("weights are read from safetensors alone: pickled ones may run code when they are read")
        told = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs)
        complaints = [f"missing {name}" for name in sorted(info["missing_keys"])]
        complaints += [f"unexpected {name}" for name in sorted(info["unexpected_keys"])]
        if complaints:
            raise RunError(
                f"{pretrained_model_name_or_path} holds the weights of another model: {'; '.join(complaints)}"
            )
        return (model, info) if told else model

    @classmethod
    def get_init_context(cls, *args: Any, **kwargs: Any) -> list[Any]:
        """Without the meta device and what follows it: torch.linspace would make numbers where we count on none."""
        contexts = super().get_init_context(*args, **kwargs)
        return list(takewhile(lambda context: not isinstance(context, torch.device), contexts))

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        past_key_values: DecodingCache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """The logits of the token after each of these.

        Arguments:
            input_ids: [B,T]; with ``past_key_values``, those that follow what it has seen.
            attention_mask: [B,T], or [B,seen+T] with a cache: 0 on padding, which stands before the text where there is
                a cache, and may stand after it where there is none.
            past_key_values: from an earlier call; it is moved on.
            labels: [B,T]; the loss is the mean of −log p(labels_t | tokens before t), without those that are −100.
            use_cache: return a cache.

        Raises:
            DataError: padding inside a text, or after it with a cache.
        """
        if kwargs.get("inputs_embeds") is not None:
            raise DataError("give input_ids; embeddings of your own cannot be decoded from")
        if use_cache and past_key_values is None:
            past_key_values = DecodingCache(self.model.cache(input_ids.shape[0]))
        reset = None if attention_mask is None else _begins(attention_mask, input_ids.shape[1], past_key_values)
        logits = self.model(input_ids, reset=reset, cache=None if past_key_values is None else past_key_values.cache)
        if past_key_values is not None:
            past_key_values.seen += input_ids.shape[1]
        loss = None
        if labels is not None:
            loss = functional.cross_entropy(
                logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED
            )
        output = CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values)
        return output if return_dict or return_dict is None else output.to_tuple()

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        next_sequence_length: int | None = None,
        past_key_values: transformers.Cache | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The tokens that the cache has not seen."""
        if past_key_values is not None:
            input_ids = input_ids[:, past_key_values.get_seq_length() :]
        inputs = {"input_ids": input_ids, "past_key_values": past_key_values, "attention_mask": attention_mask}
        return {**inputs, "use_cache": kwargs.get("use_cache")}

    def get_input_embeddings(self) -> nn.Module:
        """The embedding."""
        return self.model.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Another embedding, which a tied head then reads."""
        assert isinstance(value, nn.Embedding)
        self.model.embedding = value

    def get_output_embeddings(self) -> nn.Module | None:
        """The head; None where it is the embedding."""
        return self.model.head

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Another head."""
        assert isinstance(value, nn.Linear)
        self.model.head = value

    def get_expanded_tied_weights_keys(self, all_submodels: bool = False) -> dict[str, str]:
        """Further names of parameters that several layers share, and the name that each is saved under."""
        names: dict[nn.Parameter, str] = {}
        tied = {}
        for name, parameter in self.named_parameters(remove_duplicate=False):
            if names.setdefault(parameter, name) != name:
                tied[name] = names[parameter]
        return tied

    def _init_weights(self, module: nn.Module) -> None:
        """Every module starts its own weights."""

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False


def _begins(mask: Tensor, length: int, cache: DecodingCache | None) -> Tensor | None:
    """Where a text begins after padding [B,T]; None where it begins in none of these tokens."""
    seen = 0 if cache is None else cache.seen
    if mask.dim() != 2 or mask.shape[1] not in (length, seen + length):
        raise DataError(
            f"attention_mask must be [B,{length}], with a cache [B,{seen + length}], got {list(mask.shape)}"
        )
    if mask.shape[1] == seen + length and seen and length == 1:
        return None  # one more token of a text that has begun
    kept = mask.bool()
    if bool(kept.all()):
        return None
    begins = kept & ~functional.pad(kept[:, :-1], (1, 0), value=False)
    if bool((begins.sum(1) > 1).any()):
        raise DataError("attention_mask has padding inside a text; put all of a row's padding before it")
    if cache is not None and not bool(kept[:, -1].all()):
        raise DataError("attention_mask has padding after a text; to continue it, pad on the left")
    return begins[:, -length:]
