// The kernels of cu/, compiled for a CPU, behind one entry point with the arguments of cuLaunchKernel.
#define PEEL_HOST
#include "../cu/attention.cu"
#include "../cu/attention_back.cu"
#include "../cu/conv.cu"
#include "../cu/conv_back.cu"
#include "../cu/latents.cu"
#include "../cu/linear.cu"
#include "../cu/linear_back.cu"
#include "../cu/loss.cu"
#include "../cu/norm.cu"
#include "../cu/norm_back.cu"
#include "../cu/pictures.cu"
#include "../cu/paint.cu"
#include "../cu/plate.cu"
#include "../cu/sums.cu"
#include "../cu/training.cu"
#ifdef PEEL_PLANTED
#include "planted.cu"
#endif

namespace {

template <class... P, size_t... I>
void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<P*>(arguments[I])...);
}

template <class... P>
const char* run(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, uint64_t seed, void** arguments, size_t count) {
    if (count != sizeof...(P)) return "launched with another number of arguments than it takes";
    return emulate::launch(grid, block, shared, seed, [=] { call(kernel, arguments, std::index_sequence_for<P...>()); });
}

}  // namespace

// Runs a kernel by name; null, or what was found wrong. Not for several threads at once.
extern "C" const char* peel_emulate(const char* name, const unsigned* grid, const unsigned* block, size_t shared,
                                    uint64_t seed, void** arguments, size_t count) {
    const dim3 g(grid[0], grid[1], grid[2]), b(block[0], block[1], block[2]);
#define KERNEL(kernel) \
    if (strcmp(name, #kernel) == 0) return run(kernel, g, b, shared, seed, arguments, count);
    KERNEL(attention_32)
    KERNEL(attention_64)
    KERNEL(attention_96)
    KERNEL(attention_128)
    KERNEL(qk_norm)
    KERNEL(conv3x3_bf16)
    KERNEL(conv3x3_f32)
    KERNEL(linear_bf16)
    KERNEL(linear_int8)
    KERNEL(linear_gated_bf16)
    KERNEL(linear_gated_int8)
    KERNEL(norm_modulate)
    KERNEL(less_means)
    KERNEL(group_moments)
    KERNEL(group_norm_silu)
    KERNEL(patchify)
    KERNEL(unpatchify)
    KERNEL(planes)
    KERNEL(combine)
    KERNEL(pixel_weights)
    KERNEL(layer_errors)
    KERNEL(consistency)
    KERNEL(refiner_inputs)
    KERNEL(add_pictures)
    KERNEL(softmax_rows)
    KERNEL(softmax_rows_back)
    KERNEL(draw_latents)
    KERNEL(draw_latents_back)
    KERNEL(light_encode)
    KERNEL(light_decode)
    KERNEL(unshadow)
    KERNEL(over)
    KERNEL(recompose)
    KERNEL(view)
    KERNEL(paint)
    KERNEL(attention_deltas)
    KERNEL(attention_queries_32)
    KERNEL(attention_keys_32)
    KERNEL(attention_queries_64)
    KERNEL(attention_keys_64)
    KERNEL(attention_queries_96)
    KERNEL(attention_keys_96)
    KERNEL(attention_queries_128)
    KERNEL(attention_keys_128)
    KERNEL(conv3x3_back_input)
    KERNEL(conv3x3_back_weight)
    KERNEL(linear_back_input)
    KERNEL(linear_back_weight)
    KERNEL(norm_modulate_back)
    KERNEL(modulation_sums)
    KERNEL(qk_norm_back)
    KERNEL(group_sums)
    KERNEL(group_norm_back)
    KERNEL(bias_sums)
    KERNEL(sum_parts)
    KERNEL(squares)
    KERNEL(activate)
    KERNEL(activate_back)
    KERNEL(gated_add)
    KERNEL(gated_add_back)
    KERNEL(gate_sums)
    KERNEL(narrow_rows)
    KERNEL(mark)
    KERNEL(planes_back)
    KERNEL(kernel_rows)
    KERNEL(fill)
    KERNEL(adamw)
#ifdef PEEL_PLANTED
    KERNEL(planted_missing_barrier)
    KERNEL(planted_off_by_one)
    KERNEL(planted_divergent_barrier)
    KERNEL(planted_shared_overrun)
#endif
    return "no kernel of this name";
}
