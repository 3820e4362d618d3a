"""Coverage-guided fuzzing of one decoder: `python tests/fuzz/fuzz_decoders.py NAME`.

FUZZ_S is how long it runs, in seconds. What was interesting is kept in .fuzz/NAME, and the next run
goes on from there. A finding ends the run with exit code 77 and leaves the input beside the corpus.
Without atheris (it has wheels for some releases of Python only) the run says so and is skipped.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import sys
from pathlib import Path
from typing import Final

KEPT: Final = Path(__file__).resolve().parents[2] / ".fuzz"
MAX_BYTES: Final = 16 << 10
SPARE_BYTES: Final = 768 << 20  # the fuzzer's own, and twice what any decoder may take


def main(name: str) -> int:
    if importlib.util.find_spec("atheris") is None:
        found = ".".join(map(str, sys.version_info[:2]))
        sys.stderr.write(f"fuzz {name}: skipped, there is no atheris for Python {found}\n")
        return 0
    import atheris

    with atheris.instrument_imports(include=["swarmdeck", "decoders", "tomllib", "shlex"]):
        import decoders

    decode = decoders.DECODERS[name]
    corpus = KEPT / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(decoders.SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(seed)
    decode(decoders.SEEDS[name][0])  # what is loaded with the first input is not its memory
    with Path("/proc/self/statm").open() as statm:
        size = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + SPARE_BYTES, resource.RLIM_INFINITY))
    seconds = os.environ.get("FUZZ_S", "600")
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", "-timeout=10",
         "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0", "-close_fd_mask=0",
         f"-artifact_prefix={corpus}.finding-", str(corpus)],
        lambda data: decoders.bounded(decode, data),
    )  # fmt: skip
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
