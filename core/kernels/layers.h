#pragma once

#include <cstdint>
#include <span>

#include "core/kernels/active_rows.h"
#include "core/kernels/packed_matrix.h"

namespace portolan {

/// The layers of the networks on blocks of rows, one thread. Dense buffers are row-major with a
/// stride that is a multiple of 64 floats, on a 64-byte boundary. Every row is computed alone and
/// summed in a fixed order, so that its bits depend neither on the rows around it nor on threads.
/// They depend on the instruction set (KernelInstructionSet).

/// out[r, :] = W in[r, :] + bias, padding included. out: (rows, w.stride()).
void Multiply(const PackedMatrix& w, const ActiveRows& in, int64_t rows, float* out);

/// The gradient of the active inputs: out[r, k] = sum_o gradient[r, o] W[o, k] for k active in row
/// r, 0 elsewhere. gradient: (rows, w.stride()), zeros in the padding; out: (rows, out_stride).
/// `scratch`: at least MultiplyTransposedScratch(rows, w) floats.
void MultiplyTransposed(const PackedMatrix& w, const ActiveRows& in, int64_t rows,
                        const float* gradient, float* out, int64_t out_stride, float* scratch);
int64_t MultiplyTransposedScratch(int64_t rows, const PackedMatrix& w);

/// Where a stack's pre-activations pass: x -> [layer norm, eps 1e-5, no affine] -> ReLU.
struct Activation {
  int64_t width = 0;
  bool layer_norm = false;
};

/// `x`: (rows, PaddedWidth(width)), zeros in the padding; becomes what enters the ReLU.
/// inverse_deviation: (rows), written if layer_norm. A NaN stays active and so reaches the loss.
void Activate(const Activation& activation, int64_t rows, float* x, float* inverse_deviation,
              ActiveRows& out);

/// `gradient`: of the ReLU's output, zero where inactive; becomes that of Activate's input.
/// `x`, `inverse_deviation`: as Activate left them.
void ActivateBackward(const Activation& activation, int64_t rows, const float* x,
                      const float* inverse_deviation, float* gradient);

/// x = x * scale + shift, elementwise over PaddedWidth(width): batch norm in eval mode.
void ScaleAndShift(int64_t width, int64_t rows, const float* scale, const float* shift, float* x);

/// x += addend, over `width`.
void AddTo(float* x, const float* addend, int64_t width);

/// The first encoder layer of one cell: out = bias + sum_g f(counts_g) weight_t[gene_g, :],
/// f = log1p or identity. weight_t: (genes, width) row-major; out: PaddedWidth(width), zeros in the
/// padding. `scratch`: genes.size() + 64 floats.
void SparseRow(std::span<const int32_t> genes, std::span<const float> counts, const float* weight_t,
               const float* bias, int64_t width, bool log1p_counts, float* scratch, float* out);

/// "AVX512", "AVX2", ...: what the kernels run on. PORTOLAN_KERNELS=avx2 keeps a processor with
/// AVX-512 to AVX2, for the same bits on a mixed cluster.
const char* KernelInstructionSet();

}  // namespace portolan
