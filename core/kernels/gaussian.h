#pragma once

#include <cstdint>

namespace portolan {

/// Diagonal Gaussians of one cell, `width` dimensions. `heads`: what the two heads of a network
/// give, means first, then logarithms of variances; gradients of heads likewise.

/// var = exp(log variances) + epsilon; z = mean + sqrt(var) noise.
void SampleGaussian(int64_t width, const float* heads, float epsilon, const float* noise,
                    float* var, float* z);

/// KL(N(mean, var) || N(0, 1)).
float KlFromStandard(int64_t width, const float* mean, const float* var);

/// -sum log var: what log q(z|x) at its own sample z depends on, beside the noise, is half of it.
float NegativeLogVariances(int64_t width, const float* var);

/// The gradient of  <by_z, z> + kl_weight KL + log_density_weight log q(z|x)  by the heads, where
/// z is the sample that SampleGaussian drew.
void SampleGaussianBackward(int64_t width, const float* heads, const float* noise, const float* var,
                            const float* by_z, float kl_weight, float log_density_weight,
                            float* by_heads);

/// -log N(z; mean, var) with var = exp(log variances). Writes weight times its gradient by the
/// heads, and adds weight times its gradient by z to by_z.
float NegativeLogDensity(int64_t width, const float* z, const float* heads, float weight,
                         float* by_heads, float* by_z);

/// Softmax of `logits`, in place.
void Softmax(int64_t width, float* logits);

}  // namespace portolan
