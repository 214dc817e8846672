"""Writes golden schedules and samplers, computed by diffusers.

    pip install torch numpy safetensors diffusers
    python make_diffusion.py            # writes schedules.safetensors and samplers.safetensors beside itself

The denoiser is a known function of the noisy picture and of the signal's share, so that only the samplers are compared.
"""

import math
import pathlib

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
PUBLISHED = dict(num_train_timesteps=1000, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
COSINE = dict(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2")
SOLVERS = {"dpm": DPMSolverMultistepScheduler, "unipc": UniPCMultistepScheduler}
SCHEDULES = {"published": PUBLISHED, "cosine": COSINE}

random = np.random.default_rng(77)


def picture(*shape):
    return torch.from_numpy(random.standard_normal(shape).astype(np.float32))


def denoiser(z, signal):
    return 0.6 * torch.tanh(1.5 * z) + 0.3 * float(signal) - 0.1


def in_double(scheduler, name):
    """Its own table in f64: in f32 the cosine schedule's last 1 - 0.999 is off by 3e-5, and so are the samplers."""
    if name == "cosine":
        bar = lambda t: math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = torch.tensor([min(1 - bar(t + 1) / bar(t), 0.999) for t in range(1000)], dtype=torch.float64)
    else:
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    exact = torch.cumprod(1 - betas, 0)
    assert (exact - scheduler.alphas_cumprod).abs().max() < 1e-6
    scheduler.alphas_cumprod = exact
    return scheduler


def sampled(scheduler, steps, z):
    """Every noisy picture that the denoiser is shown, then the result."""
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        # Else a scheduler whose first two steps round to the same timestep begins at the second.
        scheduler.set_begin_index(0)
    seen = []
    for i, t in enumerate(scheduler.timesteps):
        seen.append(z)
        if isinstance(scheduler, DDIMScheduler):
            signal = scheduler.alphas_cumprod[t].sqrt()
        else:
            signal = scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas[i])[0]
        z = scheduler.step(denoiser(z, signal), t, z).prev_sample
    return torch.stack([*seen, z])


def main():
    torch.set_num_threads(1)
    tables = {}
    x, noise = picture(3, 3, 2, 2), picture(3, 3, 2, 2)
    times = torch.tensor([0, 400, 900])
    tables |= {"x": x, "noise": noise}
    for name, options in SCHEDULES.items():
        scheduler = DDPMScheduler(**options)
        tables[f"{name}.alphas"] = scheduler.alphas_cumprod
        z = scheduler.add_noise(x, noise, times)
        tables[f"{name}.z"], tables[f"{name}.v"] = z, scheduler.get_velocity(x, noise, times)
        # What a network said, and the clean picture that diffusers reads in it.
        said = picture(3, 3, 2, 2)
        tables[f"{name}.said"] = said
        for kind in ("epsilon", "v_prediction"):
            ddim = DDIMScheduler(**options, prediction_type=kind, clip_sample=False)
            ddim.set_timesteps(1000)
            clean = [ddim.step(said[i:i + 1], int(t), z[i:i + 1]).pred_original_sample for i, t in enumerate(times)]
            tables[f"{name}.clean.{kind}"] = torch.cat(clean)
    write("schedules", tables)

    z = picture(1, 3, 4, 6)
    walks = {"z": z}
    common = dict(prediction_type="sample")
    for name, options in SCHEDULES.items():
        ddim = DDIMScheduler(**options, **common, clip_sample=False, timestep_spacing="leading")
        walks[f"{name}.ddim.leading"] = sampled(in_double(ddim, name), 50, z)
        spacings = {"uniform": dict(timestep_spacing="linspace"), "trailing": dict(timestep_spacing="trailing"),
                    "karras": dict(use_karras_sigmas=True)}
        for spacing, extra in spacings.items():
            for solver, kind in SOLVERS.items():
                scheduler = kind(**options, **common, **extra, final_sigmas_type="zero")
                walks[f"{name}.{solver}.{spacing}"] = sampled(in_double(scheduler, name), 8, z)
    # Over the straight line: alpha = 1 - sigma.
    line = [0.96, 0.8, 0.55, 0.3, 0.1]
    flow = dict(prediction_type="flow_prediction", use_flow_sigmas=True, final_sigmas_type="zero")
    for name, kind in SOLVERS.items():
        scheduler = kind(**flow)
        scheduler.set_timesteps(len(line))
        scheduler.sigmas = torch.tensor([*line, 0.0], dtype=torch.float64)
        now, seen = z, []
        for i, t in enumerate(scheduler.timesteps):
            seen.append(now)
            sigma = line[i]
            velocity = (now - denoiser(now, 1 - sigma)) / sigma
            now = scheduler.step(velocity, t, now).prev_sample
        walks[f"line.{name}"] = torch.stack([*seen, now])
    write("samplers", walks)


def write(name, tensors):
    arrays = {key: np.ascontiguousarray(t.detach().numpy().astype(np.float32)) for key, t in tensors.items()}
    save_file(arrays, HERE / f"{name}.safetensors")


main()
