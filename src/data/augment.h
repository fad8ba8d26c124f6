/* augment.h -- random changes of training images: drawn per (seed, epoch, image, transform), so
 * they depend neither on ranks nor on threads nor on the batch. */
#ifndef PN_DATA_AUGMENT_H
#define PN_DATA_AUGMENT_H

#include "base/rng.h"
#include "base/status.h"
#include "device/images.h"

#include <stdbool.h>

/* In the order in which they are applied; the geometric ones are one resampling.  Never renumber:
 * the number keys the random stream. */
typedef enum {
  PN_AUG_GAMMA,      /* v^g, g from 1 / (1 + range) to 1 + range */
  PN_AUG_CONTRAST,   /* times 1 - range .. 1 + range, about mid-grey */
  PN_AUG_BRIGHTNESS, /* plus -range .. range; 1 = black to white */
  PN_AUG_JITTER,     /* three channels: each times 1 - range .. 1 + range */
  PN_AUG_HFLIP,      /* left and right exchanged with probability `range` */
  PN_AUG_ZOOM,       /* enlarged 1 / (1 + range) to 1 + range times, about the centre */
  PN_AUG_SHEAR,      /* degrees, -range .. range */
  PN_AUG_ROTATE,     /* degrees, -range .. range, about the centre */
  PN_AUG_TRANSLATE,  /* shares of width and height, -range .. range */
  PN_AUG_NOISE,      /* normal, standard deviation 0 .. range; 1 = black to white */
  PN_AUG_CUTOUT,     /* a rectangle of `range` times the sides becomes the input mean */
  PN_AUG_MIXUP,      /* share of the image from Beta(range, range), the rest from another image */
  PN_AUG_COUNT
} pn_transform;

const char *pn_transform_name(pn_transform t); /* "hflip": its option is augment.hflip */

typedef struct {
  double range[PN_AUG_COUNT]; /* 0 = off */
  bool black;                 /* what geometry brings in from outside is black, else the edge */
  uint64_t seed;
} pn_augment_config;

/* What all images of a set share, and what the network is given: (value - mean) / sd, where value
 * is pixel / 255 or pixel / 65535. */
typedef struct {
  int64_t channels, height, width;
  int bits; /* 8 or 16 */
  float mean, sd;
} pn_image_format;

typedef struct pn_augment pn_augment;

/* Errors: ARG (jitter of images that have not three channels), NOMEM. */
pn_status pn_augment_create(const pn_augment_config *c, const pn_image_format *f, pn_augment **out);
void pn_augment_destroy(pn_augment *a);
bool pn_augment_any(const pn_augment_config *c); /* is any transform on? */
double pn_augment_range(const pn_augment *a, pn_transform t);

/* What one image gets in one epoch. */
typedef struct {
  double gamma, contrast, brightness, gain[3];
  bool flip;
  double zoom, shear, angle; /* radians */
  double shift[2];           /* pixels: down, right */
  double noise;              /* standard deviation */
  pn_rng noise_rng;
  int64_t cut[4];  /* rows [0, 1), columns [2, 3) */
  double mix;      /* share of this image; 1: not mixed */
  int64_t partner; /* position in the split of the image it is mixed with */
} pn_draw;

/* id: of the image; count: images of the split, or PN_ANY_PARTNER: `partner` is 32 random bits. */
#define PN_ANY_PARTNER (INT64_C(1) << 32)
pn_draw pn_augment_draw(const pn_augment *a, uint32_t epoch, uint64_t id, int64_t count);

/* Bytes to normalised floats with everything of `d` but the mixing.  a: NULL = no augmentation (d
 * is not looked at).  pixels: channels x height x width, u8 or native u16; out: as many floats;
 * scratch: height * width floats.  Thread-safe. */
void pn_augment_apply(const pn_augment *a, const pn_draw *d, const pn_image_format *f,
                      const void *pixels, float *scratch, float *out);
/* Left and right of one such image exchanged, in place. */
void pn_mirror(const pn_image_format *f, float *image);

/* The same for a device that makes the images itself: all of *out but where the image lies and what
 * is mixed in.  a: NULL = no augmentation. */
void pn_augment_describe(const pn_augment *a, const pn_draw *d, const pn_image_format *f,
                         pn_image_row *out);
const float *pn_augment_quantiles(const pn_augment *a); /* [PN_NOISE_QUANTILES], borrowed */
bool pn_augment_black(const pn_augment *a);             /* see pn_augment_config */

#endif
