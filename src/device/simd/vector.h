/* vector.h -- the kernels written for one vector width, and which of them this processor may run.
 */
#ifndef PN_DEVICE_SIMD_VECTOR_H
#define PN_DEVICE_SIMD_VECTOR_H

#include "device/simd/norm.h"
#include "device/simd/pool_grad.h"
#include "device/simd/small_conv.h"

/* One plane of a 2x2 max-pool with stride 2, `lanes` channels side by side: big [2 * out0 or more]
 * [cols][lanes], small and code [out0][out1][lanes]. */
typedef struct {
  int64_t cols, out[2];
} pn_pool2;

/* One plane of a max-pool with any window: big [in0][in1][lanes], small and code
 * [out0][out1][lanes].
 */
typedef struct {
  int64_t in[2], out[2], kernel[2], stride[2], pad[2];
} pn_pool_plane;

enum { PN_PEAK_CHAINS = 12 }; /* vectors that peak_chains works on in each round */

typedef struct {
  int lanes;
  void (*conv_forward)(const pn_small_conv *c, const pn_small_image *im);
  void (*conv_gradient)(const pn_small_conv *c, const pn_small_image *im);
  /* code: place of the first maximum, row-major; NaN wins. */
  void (*pool_forward)(const pn_pool2 *p, const float *big, float *small, uint8_t *code);
  /* Writes the four places under each output.  y: see pn_pool_backward. */
  void (*pool_backward)(const pn_pool2 *p, const float *dy, const uint8_t *code, const float *y,
                        float *big);
  /* The same with any window; backward adds to a plane of zeros. */
  void (*pool_any_forward)(const pn_pool_plane *p, const float *big, float *small, uint8_t *code);
  void (*pool_any_backward)(const pn_pool_plane *p, const float *dy, const uint8_t *code,
                            const float *y, float *big);
  void (*grad_weight)(const pn_pool_grad *g, const pn_grad_image *im);
  void (*grad_data)(const pn_pool_grad *g, const pn_grad_image *im);
  float (*peak_chains)(int64_t rounds, float scale);
  pn_norm_code norm; /* slabs of `lanes` channels */
} pn_vector_code;

/* Code for vectors of `lanes` floats; NULL where there is none. */
const pn_vector_code *pn_vector_find(int64_t lanes);
extern const pn_vector_code pn_vector_avx2, pn_vector_avx512;

#endif
