"""LoRAs in the networks of a pipeline: put in when a row first needs one, weighted for each batch, at rest otherwise.

A network at rest computes with its own layers alone, bit for bit as before. Layers of LoRAs stay in it for the next
batch; when there are too many, the network's own layers are put back and the ones of this batch put in anew.
"""

import warnings
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch

from schemas.errors import ModelUnavailable
from workers.models.adapter_files import AdapterFile
from workers.models.libraries import diffusers
from workers.models.memory import is_out_of_memory

# Of one network; a LoRA is 10 to 300 MB.
MOST_HELD = 8
_FAMILY = "see family in models.toml: a LoRA fits models of the family that it was trained with"
_SOURCE = "see source and file in models.toml"
_NETWORKS = ("unet", "text_encoder", "text_encoder_2")
_DOWN = (".lora_A.weight", ".lora.down.weight", "_lora.down.weight", ".lora_linear_layer.down.weight")


class LoraLayers:
    """The LoRAs in networks that are loaded. Used by one thread."""

    def __init__(self) -> None:
        # Of each network what was put in, also where it had no layer for it. A network that left memory is forgotten.
        self._known: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()
        # Of each network what asked for gradients before peft froze it. Nobody computes any, but torch multiplies
        # matrices in another order where a weight asks for them, and on some processors the last bit shows it.
        self._asking: WeakKeyDictionary[Any, list[torch.nn.Parameter]] = WeakKeyDictionary()

    def put_in(self, pipe: Any, uses: Sequence[tuple[AdapterFile, float]]) -> None:
        """Make a pipeline's networks compute with these LoRAs, in this order, and no others.

        Raises:
            ModelUnavailable: peft is not installed, or a LoRA does not fit this pipeline.
        """
        networks = _networks(pipe)
        wanted = {file.key for file, _ in uses}
        try:
            for network in networks.values():
                known = self._known.setdefault(network, set())
                if wanted - known and len(wanted | known) > MOST_HELD:
                    self.strip(network)
            for file, _ in uses:
                self._load(pipe, networks, file)
        except BaseException:
            for network in networks.values():
                self.strip(network)
            raise
        for network in networks.values():
            mine = [(file.key, weight) for file, weight in uses if file.key in names_in(network)]
            self._freeze(network, bool(mine))
            _weigh(network, mine)

    def rest(self, pipe: Any) -> None:
        """Make a pipeline's networks compute as if there were no LoRAs."""
        for network in _networks(pipe).values():
            _weigh(network, [])
            self._freeze(network, False)

    def strip(self, network: Any) -> None:
        """Put a network's own layers back: the very objects that were there before."""
        self._known.pop(network, None)
        if network not in self._asking:
            return
        self._freeze(network, False)
        del self._asking[network]
        # Also those of a LoRA that peft was in the middle of, which it does not tell of yet.
        for path, layer in _layers(network).items():
            parent, _, name = path.rpartition(".")
            setattr(network.get_submodule(parent), name, layer.get_base_layer())
        if names_in(network):
            del network.peft_config
        network._hf_peft_config_loaded = False

    def _freeze(self, network: Any, frozen: bool) -> None:
        """As plain diffusers leaves weights that LoRAs are added to, or as they were before."""
        for weight in self._asking.get(network, ()):
            weight.requires_grad_(not frozen)

    def _load(self, pipe: Any, networks: dict[str, Any], file: AdapterFile) -> None:
        missing = {name: network for name, network in networks.items() if file.key not in self._known.get(network, ())}
        if not missing:
            return
        try:
            found, alphas, metadata = _read(pipe, file)
            for name, network in missing.items():
                self._asking.setdefault(network, [one for one in network.parameters() if one.requires_grad])
                with warnings.catch_warnings():
                    # Several LoRAs in one network are what is meant.
                    warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
                    _inject(pipe, name, network, file, found, alphas, metadata)
                self._known.setdefault(network, set()).add(file.key)
        except ModelUnavailable:
            raise
        except Exception as error:  # peft's, diffusers' and torch's, by what does not fit
            if is_out_of_memory(error):
                raise
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            raise ModelUnavailable(f"LoRA {file.name} cannot be put into the model: {reason}", hint=_FAMILY) from error
        if not any(file.key in names_in(network) for network in networks.values()):
            raise ModelUnavailable(f"LoRA {file.name} has no layer of this model", hint=_FAMILY)


def _networks(pipe: Any) -> dict[str, Any]:
    return {name: network for name in _NETWORKS if (network := getattr(pipe, name, None)) is not None}


def names_in(network: Any) -> list[str]:
    """The LoRAs whose layers are in a network."""
    return list(getattr(network, "peft_config", None) or {})


def _layers(network: Any) -> dict[str, Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {path: module for path, module in network.named_modules() if isinstance(module, BaseTunerLayer)}


def _weigh(network: Any, weights: Sequence[tuple[str, float]]) -> None:
    if not names_in(network):
        return
    for layer in _layers(network).values():
        layer.enable_adapters(bool(weights))
        if weights:
            layer.set_adapter([key for key, _ in weights])
            for key, weight in weights:
                layer.set_scale(key, weight)


def _read(pipe: Any, file: AdapterFile) -> tuple[dict[str, torch.Tensor], Any, Any]:
    """Its tensors in diffusers' names, whoever trained it, with scales and peft's own settings where it has them."""
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise ModelUnavailable(f"LoRA {file.name}: {error}", hint="pip install 'promptmill[worker]'") from None
    options = {"unet_config": pipe.unet.config} if getattr(pipe, "text_encoder_2", None) is not None else {}
    found, alphas, metadata = pipe.lora_state_dict(
        str(file.path.parent),
        weight_name=file.path.name,
        use_safetensors=True,
        local_files_only=True,
        return_lora_metadata=True,
        **options,
    )
    if not all("lora" in key for key in found):
        raise ModelUnavailable(f"LoRA {file.name}: {file.path} holds tensors that are not a LoRA's", hint=_SOURCE)
    return found, alphas, metadata


def _inject(
    pipe: Any, name: str, network: Any, file: AdapterFile, found: dict[str, torch.Tensor], alphas: Any, metadata: Any
) -> None:
    """Put the layers for one network in."""
    wanted = sum(key.startswith(f"{name}.") and key.endswith(_DOWN) for key in found)
    if not wanted:
        return
    if name == "unet":
        pipe.load_lora_into_unet(found, alphas, unet=network, adapter_name=file.key, metadata=metadata)
    else:
        _into_text_encoder(name, network, file.key, found, alphas, metadata)
    parameter = next(network.parameters())
    network.to(device=parameter.device, dtype=parameter.dtype)
    network.requires_grad_(False)
    there = sum(file.key in getattr(layer, "lora_A", {}) for layer in _layers(network).values())
    if there < wanted:
        message = f"LoRA {file.name}: {wanted - there} of its {wanted} layers are not in the model's {name}"
        raise ModelUnavailable(message, hint=_FAMILY)


def _into_text_encoder(
    name: str, network: Any, key: str, found: dict[str, torch.Tensor], alphas: Any, metadata: Any
) -> None:
    """As diffusers' `load_lora_into_text_encoder`, by peft itself: transformers 5.24 wants a peft that is not out."""
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    convert: Any = diffusers.utils.state_dict_utils
    start = f"{name}."
    own = {path.removeprefix(start): tensor for path, tensor in found.items() if path.startswith(start)}
    own = convert.convert_state_dict_to_peft(convert.convert_state_dict_to_diffusers(own))
    flat = not any(path.startswith("text_model.") for path, _ in network.named_modules())
    own = {path.removeprefix("text_model.") if flat else path: tensor for path, tensor in own.items()}
    ranks = {path: tensor.shape[1] for path, tensor in own.items() if path.endswith(".lora_B.weight")}
    scales = {path.removeprefix(start): alpha for path, alpha in (alphas or {}).items() if path.startswith(start)}
    if flat:
        scales = {path.removeprefix("text_model."): alpha for path, alpha in scales.items()}
    settings = {path.removeprefix(start): value for path, value in (metadata or {}).items() if path.startswith(start)}
    kwargs = settings or diffusers.utils.peft_utils.get_peft_kwargs(ranks, scales, own, is_unet=False)
    config = LoraConfig(**kwargs)
    inject_adapter_in_model(config, network, adapter_name=key)
    set_peft_model_state_dict(network, own, adapter_name=key)
    network.peft_config = {**(getattr(network, "peft_config", None) or {}), key: config}
