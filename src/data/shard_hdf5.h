/* shard_hdf5.h -- HDF5 types of a shard.  Private to shard_*.c. */
#ifndef PN_DATA_SHARD_HDF5_H
#define PN_DATA_SHARD_HDF5_H

#include <hdf5.h>
#include <stddef.h>

hid_t pn_shard_text_type(size_t bytes, H5T_str_t pad); /* fixed length; < 0 on error */
hid_t pn_shard_meta_type(void);                        /* pn_shard_meta; < 0 on error */

#endif
