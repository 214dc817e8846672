"""Makes the weights of the perceptual distance from the PyPI wheel `stlpips_pytorch` 0.0.2 (BSD-2-Clause), which carries them.

    python3 crates/train/scripts/stlpips.py            # writes local/perceptual/stlpips.safetensors, 9.9 MB
    python3 crates/train/scripts/stlpips.py --golden   # also the small network and the distances that the tests compare with

It makes its own environment under local/ (torch for the CPU, numpy, safetensors and the wheel).
"""

import os
import subprocess
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
VENV = ROOT / "local" / "venv-stlpips"
OUT = ROOT / "local" / "perceptual" / "stlpips.safetensors"
GOLDEN = ROOT / "crates" / "train" / "src" / "perceptual" / "golden.safetensors"
PACKAGES = ["torch", "numpy", "safetensors"]
WHEEL = "stlpips_pytorch==0.0.2"
# Names of the wheel's convolutions: slice, position.
CONVOLUTIONS = ["slice1.0", "slice2.5", "slice3.9", "slice4.11", "slice5.13"]


def in_environment():
    """Starts again inside the environment, which is made first if need be."""
    python = VENV / "bin" / "python"
    if Path(sys.prefix) == VENV:
        return
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    probe = "import torch, numpy, safetensors, importlib.metadata as m; m.version('stlpips_pytorch')"
    if subprocess.run([python, "-c", probe], capture_output=True).returncode:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        # Without what the wheel asks for beside torch: it is not needed here.
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", WHEEL], check=True)
    os.execv(python, [str(python), __file__, *sys.argv[1:]])


def wheel():
    """The wheel's modules. What it imports for plots and summaries alone is replaced by nothing."""
    for name in ("IPython", "torchsummary", "torchvision", "torchvision.models"):
        module = types.ModuleType(name)
        module.embed = module.summary = None
        module.__path__ = []
        sys.modules.setdefault(name, module)
    sys.modules["torchvision"].models = sys.modules["torchvision.models"]
    # Only networks that are not built here take these from torchvision.
    for name in ("utils", "hub"):
        module = sys.modules.setdefault(f"torchvision.{name}", types.ModuleType(f"torchvision.{name}"))
        setattr(sys.modules["torchvision.models"], name, module)
    sys.modules["torchvision.models.utils"] = sys.modules["torchvision.utils"]
    sys.modules["torchvision.utils"].load_state_dict_from_url = None
    from stlpips_pytorch import stlpips
    from stlpips_pytorch.models_lpf.downsample import Downsample

    return stlpips, Downsample


def pattern(which, width, height):
    """The picture of the tests, (1, 3, H, W) from 0 to 1."""
    import numpy as np
    import torch

    y, x = np.mgrid[:height, :width]
    channel = lambda c: ((x * (3 + which) + y * (5 + c) + x * y * (1 + which)) % 61).astype(np.float32) / np.float32(60)
    return torch.from_numpy(np.stack([channel(c) for c in range(3)])[None])


def named(convolutions, lins):
    """Tensors as `perceptual/network.rs` calls them."""
    out = {}
    for i, (convolution, lin) in enumerate(zip(convolutions, lins)):
        out[f"conv{i}.weight"] = convolution.weight.detach().contiguous()
        out[f"conv{i}.bias"] = convolution.bias.detach().contiguous()
        out[f"lin{i}"] = lin.detach().reshape(-1).contiguous()
    return out


def golden(stlpips, downsample):
    """A network of the same shape with a few channels and random weights, its slices and its distance of two patterns."""
    import torch
    from torch import nn

    torch.manual_seed(1)
    sizes = [3, 6, 5, 7, 4, 6]
    kernels, pads = [11, 5, 3, 3, 3], [2, 2, 1, 1, 1]
    convolutions = [nn.Conv2d(sizes[i], sizes[i + 1], kernels[i], padding=pads[i]) for i in range(5)]
    blur = lambda i: downsample(filt_size=3, stride=2, channels=sizes[i], pad_more=True)
    slices = [
        nn.Sequential(convolutions[0], blur(1), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 1), blur(1), convolutions[1], nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 1), blur(2), convolutions[2], nn.ReLU()),
        nn.Sequential(convolutions[3], nn.ReLU()),
        nn.Sequential(convolutions[4], nn.ReLU()),
    ]
    model = stlpips.LPIPS(net="alex", variant="shift_tolerant", pretrained=False, verbose=False)
    model.chns = sizes[1:]

    class Net(nn.Module):
        def forward(self, x):
            out = []
            for part in slices:
                x = part(x)
                out.append(x)
            return out

    class Weights(nn.Module):
        def __init__(self, count):
            super().__init__()
            self.values = torch.rand(count)

        def forward(self, squares):
            return (squares * self.values[None, :, None, None]).sum(1, keepdim=True)

    model.net = Net()
    model.lins = nn.ModuleList(Weights(n) for n in sizes[1:])
    lins = [lin.values for lin in model.lins]
    with torch.no_grad():
        a, b = pattern(0, 37, 30), pattern(1, 37, 30)
        seen = model.net(model.scaling_layer(2 * a - 1))
        distance = model(a, b, normalize=True)
    out = named(convolutions, lins)
    out |= {f"slice{i}": s.contiguous() for i, s in enumerate(seen)}
    out["distance"] = distance.reshape(1).contiguous()
    return out


def main():
    in_environment()
    import torch
    from safetensors.torch import save_file

    stlpips, downsample = wheel()
    model = stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False)
    model.eval()
    modules = dict(model.net.named_modules())
    convolutions = [modules[name] for name in CONVOLUTIONS]
    lins = [lin.model[-1].weight for lin in model.lins]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    save_file(named(convolutions, lins), OUT)
    print(f"{OUT}: {OUT.stat().st_size / 1e6:.1f} MB")
    if "--golden" in sys.argv[1:]:
        save_file(golden(stlpips, downsample), GOLDEN)
        print(f"{GOLDEN}: {GOLDEN.stat().st_size / 1e3:.1f} kB")
        with torch.no_grad():
            for width, height in ((64, 64), (97, 75)):
                distance = model(pattern(0, width, height), pattern(1, width, height), normalize=True)
                print(width, height, float(distance))


if __name__ == "__main__":
    main()
