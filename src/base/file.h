/* file.h -- whole small files, folders, and publication by rename. */
#ifndef PN_BASE_FILE_H
#define PN_BASE_FILE_H

#include "base/status.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Read a whole regular file; *out is NUL-terminated, owned by the caller (free). Errors: IO, NOMEM.
 */
pn_status pn_file_read(const char *path, char **out, size_t *bytes);

/* Write path atomically: path.tmp.PID, fsync, rename, fsync of the folder.  Nothing is left behind
 * on failure. Errors: IO. */
pn_status pn_file_write(const char *path, const void *data, size_t bytes);
/* The same without fsync: whole after a crash of the process, perhaps not after a power cut. */
pn_status pn_file_write_unsynced(const char *path, const void *data, size_t bytes);
pn_status pn_file_sync(const char *path); /* fsync of a file or a folder.  Errors: IO. */

/* fsync `tmp`, rename it to `path`, fsync the folder: after PN_OK it survives a power cut. */
pn_status pn_file_publish(const char *tmp, const char *path);

pn_status pn_make_dirs(const char *path); /* mkdir -p; an existing folder is fine */
bool pn_file_exists(const char *path);

/* snprintf of "a/b" that fails (ARG) instead of truncating. */
pn_status pn_path_join(char *out, size_t out_bytes, const char *dir, const char *name);

#ifdef __cplusplus
}
#endif
#endif
