/* vector.h -- the kernels written for one vector width, and which of them this processor may run.
 */
#ifndef PN_DEVICE_SIMD_VECTOR_H
#define PN_DEVICE_SIMD_VECTOR_H

#include "device/simd/norm.h"
#include "device/simd/pool_grad.h"
#include "device/simd/small_conv.h"

/* One plane of a 2x2 max-pool with stride 2, `step` channels side by side, a multiple of the lanes:
 * big [2 * out0 or more][cols][step], small and code [out0][out1][step]. */
typedef struct {
  int64_t cols, out[2], step;
} pn_pool2;

/* One plane of a max-pool with any window: big [in0][in1][step], small and code
 * [out0][out1][step]. */
typedef struct {
  int64_t in[2], out[2], kernel[2], stride[2], pad[2], step;
} pn_pool_plane;

enum { PN_PEAK_CHAINS = 12 }; /* vectors that peak_chains works on in each round */

/* Images and diffs are f32, or bf16, by the table; see pn_vector_find. */
typedef struct {
  int lanes;
  void (*conv_forward)(const pn_small_conv *c, const pn_small_image *im);
  void (*conv_gradient)(const pn_small_conv *c, const pn_small_image *im);
  /* code: place of the first maximum, row-major; NaN wins. */
  void (*pool_forward)(const pn_pool2 *p, const void *big, void *small, uint8_t *code);
  /* Writes the four places under each output.  y: see pn_pool_backward. */
  void (*pool_backward)(const pn_pool2 *p, const void *dy, const uint8_t *code, const void *y,
                        void *big);
  /* The same with any window; backward adds to a plane of zeros. */
  void (*pool_any_forward)(const pn_pool_plane *p, const void *big, void *small, uint8_t *code);
  void (*pool_any_backward)(const pn_pool_plane *p, const void *dy, const uint8_t *code,
                            const void *y, void *big);
  void (*grad_weight)(const pn_pool_grad *g, const pn_grad_image *im);
  void (*grad_data)(const pn_pool_grad *g, const pn_grad_image *im);
  float (*peak_chains)(int64_t rounds, float scale);
  pn_norm_code norm; /* slabs of `lanes` channels */
} pn_vector_code;

/* Code for vectors of `lanes` floats, from and to memory of that type; NULL where there is none. */
const pn_vector_code *pn_vector_find(int64_t lanes, pn_dtype type);
extern const pn_vector_code pn_vector_avx2, pn_vector_avx512, pn_vector_bf16;

#endif
